"""The room's table of contents is its contents."""

from __future__ import annotations

import re
from pathlib import Path

from xferbench import analysis


def test_every_module_is_in_the_table():
    listed = re.findall(r"^\| ``(\w+)`` \|", analysis.__doc__, flags=re.MULTILINE)
    modules = [path.stem for path in Path(analysis.__file__).parent.glob("*.py") if path.stem != "__init__"]
    assert sorted(listed) == sorted(modules)


def test_what_it_promises_is_there():
    assert all(hasattr(analysis, name) for name in analysis.__all__)
