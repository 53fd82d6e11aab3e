"""The factory's own map of itself."""

from __future__ import annotations

import re
from pathlib import Path

import xferbench.factory.mini as factory


def test_the_table_of_modules_is_the_folder():
    named = set(re.findall(r"\| ``(\w+)`` \|", factory.__doc__))
    assert named == {path.stem for path in Path(factory.__file__).parent.glob("*.py")} - {"__init__"}
