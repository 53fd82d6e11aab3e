from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError
from xferbench.transfer.samples import listed, samples, training_facts, training_pairs, with_graphs
from xferbench.units import EV_PER_A3_IN_GPA


def test_labels_come_in_the_units_of_the_loss(setting):
    frame = replace(setting.pairs[-1].r2scan, magmoms=np.full(setting.pairs[-1].r2scan.n_atoms, -2.0))
    (sample,) = samples([frame])
    assert sample.energy == frame.energy / frame.n_atoms
    assert np.array_equal(sample.forces, frame.forces)
    np.testing.assert_allclose(sample.stress, frame.stress * EV_PER_A3_IN_GPA)
    assert sample.magmoms.tolist() == [2.0] * frame.n_atoms
    assert (sample.gga, sample.frame_id) == (False, frame.frame_id)
    assert sample.counts == (1, 3 * frame.n_atoms, 9, frame.n_atoms)


def test_missing_labels_are_counted_as_missing(setting):
    frame = replace(setting.pairs[0].gga, energy=None, forces=None, stress=None, magmoms=None)
    (sample,) = samples([frame])
    assert sample.counts == (0, 0, 0, 0)
    assert sample.forces.shape == (frame.n_atoms, 3)
    assert sample.gga


def test_labels_that_are_not_finite_name_their_frames(setting):
    frames = [pair.r2scan for pair in setting.pairs]
    frames[1] = replace(frames[1], energy=np.nan)
    frames[3] = replace(frames[3], stress=np.full((3, 3), np.inf))
    with pytest.raises(DataError) as caught:
        samples(frames)
    assert f"{frames[1].frame_id}, {frames[3].frame_id}; leave" in str(caught.value)


def test_subsets_are_nested_and_of_whole_materials(paired):
    whole = training_pairs(paired, 1.0)
    assert [pair.pair_id for pair in whole] == [pair.pair_id for pair in paired.pairs("train")]
    ids = [{pair.material_id for pair in training_pairs(paired, subset)} for subset in (0.4, 0.7, 1.0)]
    assert ids[0] < ids[1] <= ids[2]
    half = training_pairs(paired, 0.7)
    assert {p.pair_id for p in half} == {p.pair_id for p in whole if p.material_id in ids[1]}


def test_an_empty_subset_is_an_error(paired):
    with pytest.raises(DataError, match="the subset 1e-06 of synthetic has no training pairs; choose a larger one"):
        training_pairs(paired, 1e-6)


def test_facts_count_pairs_materials_and_elements(make_pairs):
    pairs = make_pairs(2, 3)
    facts = training_facts(pairs, [pair.r2scan for pair in pairs] * 2)
    assert facts == {"pairs": 6, "frames": 12, "materials": 2, "elements": 3}


@pytest.mark.parametrize(
    ("n", "text"), [(1, "a0"), (3, "a0, a1, a2"), (12, "a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 and 2 more")]
)
def test_long_lists_are_cut_and_counted(n, text):
    assert listed([f"a{i}" for i in range(n)]) == text


def test_frames_without_a_graph_are_told_apart_within_a_pack(setting):
    made = samples(pair.r2scan for pair in setting.pairs)
    lonely = made[3]
    lonely.atoms.set_cell(lonely.atoms.cell * 10, scale_atoms=True)
    good, left_out = with_graphs(made, setting.pretrained().settings)
    assert left_out == [lonely.frame_id]
    assert [sample.frame_id for sample in good] == [sample.frame_id for sample in made if sample is not lonely]
    assert with_graphs(good, setting.pretrained().settings) == (good, [])
