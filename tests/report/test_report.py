"""The room's table of contents is its contents."""

from __future__ import annotations

import re
from pathlib import Path

from xferbench import report


def test_every_module_is_in_the_table():
    listed = re.findall(r"^\| ``(\w+)`` \|", report.__doc__, flags=re.MULTILINE)
    assert sorted(listed) == sorted(
        path.stem for path in Path(report.__file__).parent.glob("*.py") if path.stem != "__init__"
    )
