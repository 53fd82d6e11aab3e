"""The flags told of a directory are those of its pairs, and those the manifest counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from xferbench import dataset as datasets
from xferbench.dataset import pair_flags, sharding
from xferbench.errors import UnknownNameError, UsageError
from xferbench.functionals import Functional
from xferbench.hygiene import DUPLICATE_GEOMETRY, FLAGS, UNCLEAN, duplicates, flags
from xferbench.records import SPLITS


@pytest.fixture
def peculiar(synthetic_source, tmp_path, monkeypatch):
    """The synthetic data set with flagged pairs, a duplicate in another split among them, in small row groups."""
    monkeypatch.setattr(sharding, "GROUP_ROWS", 4)
    changes = {
        "3-17-0": {"functional": Functional("PBE+U")},
        "12-8-1": {"magmoms": np.array([2.0, 0.5])},
        "3-3-8-2": {"forces": None},
        "3-12-0": {"correction": -1.0},
    }
    frames = [
        replace(frame, **changes[frame.pair_id])
        if frame.functional.rung == "GGA" and frame.pair_id in changes
        else frame
        for frame in synthetic_source.frames
    ]
    copied = [frame for frame in frames if frame.pair_id == "3-8-1"]
    frames += [
        replace(frame, pair_id="copy", frame_id=f"copy-{frame.functional}", material_id="3-17") for frame in copied
    ]
    return datasets.build(replace(synthetic_source, frames=frames), tmp_path / "peculiar")


def test_flags_are_those_of_each_pair_in_the_order_of_the_rows(peculiar):
    pairs = peculiar.pairs()
    same = duplicates(pairs)
    wanted = {pair.pair_id: flags(pair) | ({DUPLICATE_GEOMETRY} if pair.pair_id in same else set()) for pair in pairs}
    found = pair_flags(peculiar)
    assert found == wanted
    assert list(found) == [pair.pair_id for pair in pairs]
    assert same == {"copy", "3-8-1"}


def test_a_duplicate_in_another_split_is_one(peculiar):
    assert peculiar.splits["3-17"] != peculiar.splits["3-8"]
    assert DUPLICATE_GEOMETRY in pair_flags(peculiar, "test")["copy"]


def test_the_manifest_counts_what_is_told(peculiar):
    for split in SPLITS:
        found = pair_flags(peculiar, split)
        counts = Counter(flag for own in found.values() for flag in own)
        stated = peculiar.manifest["hygiene"][split]
        assert stated["flags"] == {flag: counts[flag] for flag in FLAGS}
        assert stated["clean"] == sum(not own & UNCLEAN for own in found.values())


def test_the_manifest_of_mini_counts_what_is_told(cache):
    mini = datasets.Dataset.open(cache / "datasets" / "mini-1")
    for split in SPLITS:
        counts = Counter(flag for own in pair_flags(mini, split).values() for flag in own)
        assert mini.manifest["hygiene"][split]["flags"] == {flag: counts[flag] for flag in FLAGS}
    assert mini.manifest["hygiene"]["test"]["clean"] == 59


def test_the_card_has_every_flag(peculiar):
    text = (peculiar.directory / "README.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| `duplicate_geometry` |"))
    assert row.count("| 1 ") == 2
    assert all(f"| `{flag}` |" in text for flag in FLAGS)


def test_a_split_must_exist(peculiar):
    with pytest.raises(UnknownNameError):
        pair_flags(peculiar, "best")


class TestSubset:
    def test_smaller_parts_lie_in_larger_ones_and_hold_whole_materials(self, synthetic_dataset):
        parts = [{pair.pair_id for pair in synthetic_dataset.subset(f)} for f in (0.2, 0.5, 0.8, 1)]
        assert all(small <= large for small, large in pairwise(parts))
        assert len(parts[-1]) == synthetic_dataset.manifest["splits"]["train"]["pairs"]
        assert all(len(part) % 3 == 0 for part in parts)

    @pytest.mark.parametrize("percent", ["0.1", "1", "20", "50", "100"])
    def test_counts_are_those_of_the_manifest(self, synthetic_dataset, percent):
        stated = synthetic_dataset.manifest["subsets"][percent]
        pairs = synthetic_dataset.subset(float(percent) / 100)
        assert len(pairs) == stated["pairs"]
        assert len({pair.material_id for pair in pairs}) == stated["materials"]

    @pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
    def test_a_fraction_is_above_zero_and_at_most_one(self, synthetic_dataset, fraction):
        with pytest.raises(UsageError, match="a training subset is a fraction above 0 and at most 1"):
            synthetic_dataset.subset(fraction)
