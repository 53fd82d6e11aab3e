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
from xferbench.functionals import Functional

FEW = {"n_resamples": 20}


def mixed(source, tmp_path, every=3):
    """The synthetic data set with some source frames declared +U."""
    frames = list(source.frames)
    changed = [
        replace(frame, functional=Functional("PBE+U"))
        if frame.functional == Functional("PBE") and i % (2 * every) == 0
        else frame
        for i, frame in enumerate(frames)
    ]
    return dataset.build(replace(source, frames=changed), tmp_path / "mixed")


def test_springs_ten_percent_stiffer_are_found(found):
    assert found.find("forces", "slope").value == pytest.approx(1.1)
    assert found.find("forces", "norm_ratio").value == pytest.approx(1.1)
    assert found.find("forces", "cosine").value == pytest.approx(1)
    assert found.find("stress", "mae").value == pytest.approx(0)
    assert found.find("magmoms", "mean_source").value == pytest.approx(0.5)
    assert found.find("energy/in-sample", "pearson").value > found.find("energy/raw", "pearson").value
    assert found.find("composition", "pearson").value == pytest.approx(0.998, abs=0.002)


def test_raw_and_referenced_statistics_are_those_of_scipy(found, synthetic_dataset):
    pairs = synthetic_dataset.pairs()
    x = [pair.source.energy / pair.source.n_atoms for pair in pairs]
    y = [pair.target.energy / pair.target.n_atoms for pair in pairs]
    assert found.find("energy/raw", "pearson").value == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.find("energy/raw", "spearman").value == pytest.approx(stats.spearmanr(x, y).statistic)
    rest = found.in_sample
    assert found.find("energy/in-sample", "slope").value == pytest.approx(
        stats.linregress(rest.source, rest.target).slope
    )
    assert found.find("energy/in-sample", "bias").value == pytest.approx(0, abs=1e-12)


def test_out_of_sample_numbers_are_of_test_alone(found, synthetic_dataset):
    tested = found.out_of_sample.used
    assert set(np.array(found.columns.splits)[tested]) == {"test"}
    item = found.find("energy/out-of-sample", "mae")
    assert item.n_pairs == tested.sum() == len(synthetic_dataset.pairs("test"))
    rest = (found.out_of_sample.target - found.out_of_sample.source)[tested]
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
    assert plain.source == "PBE"
    assert plain.counts.other_functional == {"PBE+U": 14}
    assert set(plain.columns.functionals) == {"PBE"}
    other = analyze(data, Settings(functional="PBE+U", **FEW))
    assert (other.source, other.counts.pairs, other.counts.other_functional) == ("PBE+U", 14, {"PBE": 28})


def test_settings_that_make_no_sense_are_usage_errors(synthetic_dataset):
    with pytest.raises(UnknownNameError, match=r"unknown split 'tset'.*did you mean 'test'"):
        analyze(synthetic_dataset, Settings(split="tset"))
    with pytest.raises(UnknownNameError, match="unknown source functional 'r2SCAN'"):
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
            replace(pair, source=replace(pair.source, energy=None), target=replace(pair.target, energy=None))
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


def test_one_pair_has_its_gap_and_nothing_that_needs_two(odd):
    got = odd["one pair"]
    assert got.find("energy/raw", "mae").value == pytest.approx(1.5)
    assert got.find("energy/in-sample", "mae").value == pytest.approx(0)
    assert got.find("energy/raw", "pearson").value is got.find("energy/raw", "mae").ci_low is None
    assert set(got.spread.values()) == {-1.5}
    assert [(row.symbol, row.shift.value) for row in got.elements] == [("Na", -1.5)]
    assert got.tables["importance"].estimates == ()


def test_one_material_has_values_without_intervals(odd):
    for key, table in odd["one material"].tables.items():
        for item in table.estimates:
            assert item.ci_low is item.ci_high is None, (key, item.name)
    assert odd["one material"].find("forces", "slope").value == pytest.approx(2)
    assert odd["one material"].find("composition", "slope").value == pytest.approx(2)


def test_a_single_element_is_referenced_out_of_sample_by_hand(odd):
    got = odd["one element"]
    train = [i for i in range(12) if i not in {3, 7}]
    mean_gap = np.mean([-1 - i / 8 for i in train])
    by_hand = np.mean([abs(-1 - i / 8 - mean_gap) for i in (3, 7)])
    assert got.find("energy/out-of-sample", "mae").value == pytest.approx(by_hand)
    assert got.find("energy/raw", "slope").value == pytest.approx(2)


def test_an_empty_test_split_leaves_the_rest_as_it_is(make_pair, analysis_of):
    pairs = [make_pair(str(i), [11] * (1 + i % 2) + [17], -i / 8, -1 - i / 4) for i in range(4)]
    none, some = analysis_of(pairs), analysis_of(pairs, {"3": "test"})
    assert none.tables["energy/out-of-sample"].estimates == ()
    assert none.counts.not_determined == {"in-sample": 0, "out-of-sample": 0}
    assert none.tables["energy/in-sample"] == some.tables["energy/in-sample"]


def test_a_test_split_that_train_does_not_determine_is_counted_not_a_failure(make_pair, analysis_of):
    got = analysis_of([make_pair("a", [11], -1, -2), make_pair("b", [17], -1, -3)], {"b": "test"})
    assert got.tables["energy/out-of-sample"].estimates == ()
    assert got.counts.not_determined["out-of-sample"] == 1
    assert got.find("energy/raw", "mae").value == pytest.approx(1.5)


def test_without_train_pairs_nothing_is_out_of_sample(make_pair, analysis_of):
    got = analysis_of([make_pair("a", [11], -1, -2), make_pair("b", [11], -1, -3)], {"a": "test", "b": "val"})
    assert got.out_of_sample.fits is None
    assert got.counts.not_determined["out-of-sample"] == 1
    assert got.counts.splits == {"test": 1, "val": 1}


def test_a_split_without_pairs_is_a_data_error(make_pair, analysis_of):
    with pytest.raises(DataError, match="split val has no pairs to analyse; choose another"):
        analysis_of([make_pair("a", [11], -1, -2)], split="val")


def test_equally_frequent_families_are_chosen_by_name_and_the_order_of_pairs_is_irrelevant(make_pair, analysis_of):
    pairs = [make_pair("a", [11], -1, -2, functional=Functional("PBE+U")), make_pair("b", [11], -1, -3)]
    for order in (pairs, pairs[::-1]):
        got = analysis_of(order)
        assert (got.source, got.counts.other_functional) == ("PBE", {"PBE+U": 1})


def test_moments_of_a_few_pairs_are_compared_and_the_others_counted(make_pair, analysis_of):
    pairs = [
        make_pair("a", [26], -1, -2, magmoms=([2.0], [-2.5])),
        make_pair("b", [26], -1, -2, magmoms=([2.0], None)),
        make_pair("c", [26], -1, -2),
    ]
    got = analysis_of(pairs)
    assert got.counts.missing["magmoms"] == {"no label from PBE and r2SCAN": 1, "no label from r2SCAN": 1}
    assert got.find("magmoms", "mae").value == pytest.approx(0.5)
    assert got.find("magmoms", "mae").n_pairs == 1
    none = analysis_of(pairs[1:])
    assert {item.value for item in none.tables["magmoms"].estimates} == {None}
    assert {item.reason for item in none.tables["magmoms"].estimates} == {"no pairs to compare"}


def test_corrections_are_counted_among_the_analysed_only(make_pair, analysis_of):
    pairs = [make_pair("a", [11], -1, -2), make_pair("b", [11], -1, -2, functional=Functional("PBE+U"))]
    corrected = [replace(pair, source=replace(pair.source, correction=-0.5)) for pair in pairs]
    assert analysis_of([pairs[0], corrected[1]]).counts.corrected == 0
    assert analysis_of(corrected).counts.corrected == 1
