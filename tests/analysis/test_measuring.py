"""From a data set to an analysis: which pairs, which fits, and what the synthetic springs must give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from xferbench import dataset
from xferbench.analysis import Settings, analyze
from xferbench.analysis.labels import TERMS
from xferbench.analysis.measuring import TITLES
from xferbench.errors import DataError, UnknownNameError, UsageError
from xferbench.records import Functional

FEW = {"n_resamples": 20}


def mixed(source, tmp_path, every=3):
    """The synthetic data set with some GGA frames declared +U."""
    frames = list(source.frames)
    changed = [
        replace(frame, functional=Functional.PBE_U)
        if frame.functional is Functional.PBE and i % (2 * every) == 0
        else frame
        for i, frame in enumerate(frames)
    ]
    return dataset.build(replace(source, frames=changed), tmp_path / "mixed")


def test_springs_ten_percent_stiffer_are_found(found):
    assert found.find("forces", "slope").value == pytest.approx(1.1)
    assert found.find("forces", "norm_ratio").value == pytest.approx(1.1)
    assert found.find("forces", "cosine").value == pytest.approx(1)
    assert found.find("stress", "mae").value == pytest.approx(0)
    assert found.find("magmoms", "mean_gga").value == pytest.approx(0.5)
    assert found.find("energy/in-sample", "pearson").value > found.find("energy/raw", "pearson").value
    assert found.find("composition", "pearson").value == pytest.approx(0.998, abs=0.002)


def test_raw_and_referenced_statistics_are_those_of_scipy(found, synthetic_dataset):
    pairs = synthetic_dataset.pairs()
    x = [pair.gga.energy / pair.gga.n_atoms for pair in pairs]
    y = [pair.r2scan.energy / pair.r2scan.n_atoms for pair in pairs]
    assert found.find("energy/raw", "pearson").value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.find("energy/raw", "spearman").value == pytest.approx(stats.spearmanr(x, y).statistic)
    rest = found.in_sample
    assert found.find("energy/in-sample", "slope").value == pytest.approx(stats.linregress(rest.gga, rest.r2scan).slope)
    assert found.find("energy/in-sample", "bias").value == pytest.approx(0, abs=1e-12)


def test_out_of_sample_numbers_are_of_test_alone(found, synthetic_dataset):
    tested = found.out_of_sample.used
    assert set(np.array(found.columns.splits)[tested]) == {"test"}
    item = found.find("energy/out-of-sample", "mae")
    assert item.n_pairs == tested.sum() == len(synthetic_dataset.pairs("test"))
    rest = (found.out_of_sample.r2scan - found.out_of_sample.gga)[tested]
    assert item.value == pytest.approx(np.abs(rest).mean())


def test_counts_add_up(found, synthetic_dataset):
    counts = found.counts
    assert counts.pairs == sum(counts.splits.values()) == len(synthetic_dataset.pairs())
    assert counts.materials == len(synthetic_dataset.splits)
    assert counts.missing["energy"] == counts.missing["forces"] == counts.missing["stress"] == {}
    (reason,) = counts.missing["magmoms"]
    assert counts.missing["magmoms"][reason] + found.find("magmoms", "mae").n_pairs == counts.pairs
    assert counts.not_determined == {"in-sample": 0, "out-of-sample": 0}


def test_quantiles_run_from_the_smallest_to_the_largest_gap(found):
    assert found.spread["0"] == found.columns.gap.min()
    assert found.spread["0.5"] == pytest.approx(np.median(found.columns.gap))
    assert found.spread["1"] == found.columns.gap.max()


def test_every_table_is_there_with_its_title(found):
    assert list(found.tables) == list(TITLES)
    assert set(TERMS) <= set(found.tables)
    assert found.tables["composition"].cluster == "composition"


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_restricts_everything_but_the_out_of_sample_numbers(found, synthetic_dataset, split):
    part = analyze(synthetic_dataset, Settings(split=split, n_resamples=60))
    assert set(part.columns.splits) == {split}
    assert part.find("energy/raw", "pearson").n_pairs == len(synthetic_dataset.pairs(split))
    assert part.tables["energy/out-of-sample"] == found.tables["energy/out-of-sample"]
    assert part.out_of_sample.used.any() == (split == "test")


def test_gga_families_are_never_pooled(synthetic_source, tmp_path):
    data = mixed(synthetic_source, tmp_path)
    plain = analyze(data, Settings(**FEW))
    assert plain.gga == "PBE"
    assert plain.counts.other_functional == {"PBE+U": 14}
    assert set(plain.columns.functionals) == {"PBE"}
    other = analyze(data, Settings(functional="PBE+U", **FEW))
    assert (other.gga, other.counts.pairs, other.counts.other_functional) == ("PBE+U", 14, {"PBE": 28})


def test_settings_that_make_no_sense_are_usage_errors(synthetic_dataset):
    with pytest.raises(UnknownNameError, match=r"unknown split 'tset'.*did you mean 'test'"):
        analyze(synthetic_dataset, Settings(split="tset"))
    with pytest.raises(UnknownNameError, match="unknown GGA functional 'r2SCAN'"):
        analyze(synthetic_dataset, Settings(functional="r2SCAN"))
    with pytest.raises(UsageError, match="0 resamples"):
        analyze(synthetic_dataset, Settings(n_resamples=0))
    with pytest.raises(UsageError, match=r"confidence 1\.0"):
        analyze(synthetic_dataset, Settings(confidence=1.0))


def test_a_functional_that_no_pair_has_is_a_data_error(synthetic_dataset):
    with pytest.raises(DataError, match=r"no pair has a PBE\+U frame; found PBE"):
        analyze(synthetic_dataset, Settings(functional="PBE+U"))


class WithoutEnergies:
    """The synthetic data set as if no calculation had printed its energy."""

    def __init__(self, data):
        self.data = data

    def __getattr__(self, name):
        return getattr(self.data, name)

    def iter_pairs(self):
        return (
            replace(pair, gga=replace(pair.gga, energy=None), r2scan=replace(pair.r2scan, energy=None))
            for pair in self.data.iter_pairs()
        )


def test_pairs_without_energies_still_compare_forces(synthetic_dataset):
    got = analyze(WithoutEnergies(synthetic_dataset), Settings(**FEW))
    assert got.spread == {}
    assert got.elements == ()
    assert got.tables["energy/raw"].estimates == got.tables["energy/out-of-sample"].estimates == ()
    assert got.find("composition", "pearson").value is None
    assert got.find("forces", "slope").value == pytest.approx(1.1)


def test_the_same_data_give_the_same_analysis(found, synthetic_dataset):
    again = analyze(synthetic_dataset, Settings(n_resamples=60))
    assert again.to_json() == found.to_json()
