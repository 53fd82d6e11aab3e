"""The room's front door: every public name is there, and works on a data set from end to end."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench import references


def test_every_public_name_is_documented():
    for name in references.__all__:
        assert getattr(references, name).__doc__ or name == "SCHEMES", name


def test_the_module_table_names_every_file():
    from pathlib import Path

    files = {path.stem for path in Path(references.__file__).parent.glob("*.py")} - {"__init__"}
    assert all(f"| ``{name}`` |" in references.__doc__ for name in files)


def test_the_scheme_table_names_every_scheme():
    from xferbench.references import schemes

    assert all(f"| ``{name}`` |" in schemes.__doc__ for name in references.SCHEMES)


def test_synthetic_pairs_have_the_shift_that_they_were_made_with(make_pairs):
    pairs = [pair for pair in make_pairs(copies=2) if pair.pair_id.endswith("-1")]  # unstrained, springs only
    labels = references.pair_labels(pairs)
    shift = references.paired_shift(labels).energies
    assert shift == pytest.approx({"Li": -0.5, "O": -0.8, "Mg": -2.4, "Cl": -4.0}, abs=0.01)
    comparison = references.compare(labels, labels, schemes=["paired"], n_resamples=10)
    assert comparison.outcomes[0].test.mae.value < 0.01
    assert np.isfinite(comparison.correlation_raw)
