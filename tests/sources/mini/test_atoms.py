"""Reading isolated atoms; what they are is tested where they are made."""

from __future__ import annotations

import pytest

from xferbench.errors import FormatError
from xferbench.sources.mini import build
from xferbench.sources.mini.atoms import energies


def test_records_of_crystals_are_refused():
    with pytest.raises(FormatError, match="is no isolated atom"):
        energies(build.RECORDS)
