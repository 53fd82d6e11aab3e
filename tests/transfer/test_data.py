from dataclasses import replace
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch.optim import SGD

from xferbench.errors import DataError, ModelError
from xferbench.transfer.data import (
    GraphStore,
    Part,
    TrainingData,
    labelled,
    listed,
    load,
    n_batches,
    order,
    parts,
    samples,
    seed_part,
)
from xferbench.transfer.optimization import loss
from xferbench.units import EV_PER_A3_IN_GPA


@pytest.fixture
def learned(data, model):
    return samples(data.frames, model)


def whole(learned):
    counts = np.sum([sample.counts for sample in learned], axis=0).tolist()
    return Part(indices=tuple(range(len(learned))), counts=tuple(counts), weight=1.0, is_last=True)


def test_the_order_is_a_permutation_decided_by_seed_and_epoch_alone():
    first = order(0, 3, 50)
    assert sorted(first.tolist()) == list(range(50))
    assert np.array_equal(first, order(0, 3, 50))
    assert not np.array_equal(first, order(0, 4, 50))
    assert not np.array_equal(first, order(1, 3, 50))


@pytest.mark.parametrize(("n", "size", "expected"), [(10, 5, 2), (11, 5, 3), (1, 64, 1)])
def test_the_last_batch_may_be_smaller(n, size, expected):
    assert n_batches(n, size) == expected


@pytest.mark.parametrize("max_cost", [1, 500, 1e9])
def test_the_parts_of_an_epoch_are_its_batches_in_order(learned, max_cost):
    ranks = order(0, 0, len(learned))
    made = list(parts(learned, ranks, batch_size=4, max_cost=max_cost))
    assert [i for part in made for i in part.indices] == ranks.tolist()
    assert sum(part.is_last for part in made) == n_batches(len(learned), 4)
    sizes = [sum(learned[i].cost for i in part.indices) for part in made]
    assert all(size <= max_cost or len(part.indices) == 1 for size, part in zip(sizes, made, strict=True))


def test_an_epoch_continued_in_the_middle_makes_the_same_parts(learned):
    ranks = order(0, 0, len(learned))
    everything = list(parts(learned, ranks, batch_size=4, max_cost=1e9))
    assert list(parts(learned, ranks, batch_size=4, max_cost=1e9, start=2)) == everything[2:]


@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_share_every_batch_and_agree_on_its_counts(learned, world):
    ranks = order(0, 0, len(learned))
    alone = list(parts(learned, ranks, batch_size=4, max_cost=1e9))
    shares = [list(parts(learned, ranks, batch_size=4, max_cost=1e9, rank=r, world=world)) for r in range(world)]
    for number, part in enumerate(alone):
        mine = [share[number] for share in shares]
        assert sorted(i for item in mine if item.weight for i in item.indices) == sorted(part.indices)
        assert {item.counts for item in mine} == {part.counts}
        assert all(item.indices for item in mine)


def test_parts_have_the_gradient_of_the_whole_batch(learned, model, graphs, tiny):
    names = [name for group in model.groups().values() for name in group]
    model.requires_grad_(True).train()

    def gradient(max_cost):
        SGD(model.parameters(), lr=1.0).zero_grad()
        todo = list(parts(learned, np.arange(len(learned)), batch_size=len(learned), max_cost=max_cost))
        for item in load(learned, todo, graphs, workers=0):
            loss(model(item.batch), item, tiny()).value.backward()
        return torch.cat([model.get_parameter(name).grad.ravel() for name in names])

    at_once, in_parts = gradient(1e9), gradient(300)
    assert at_once.abs().max() > 1e-3
    torch.testing.assert_close(at_once, in_parts, rtol=1e-4, atol=1e-6)


def test_source_samples_are_told_apart(data, model, graphs):
    pair = data.pairs[0]
    mixed = samples([pair.target], model) + samples([pair.source], model, "source")
    item = labelled(mixed, whole(mixed), graphs)
    assert item.batch.sides.tolist() == [0, 1]
    n = pair.target.n_atoms
    assert (item.batch.inputs.numbers[n:] - 94).tolist() == item.batch.inputs.numbers[:n].tolist()


def test_a_batch_that_is_on_the_device_is_not_copied(learned, graphs):
    item = labelled(learned, whole(learned), graphs)
    assert item.to(torch.device("cpu")) is item
    moved = item.to(torch.device("meta"))
    assert moved.batch.inputs.ends.indices.device.type == moved.energy.device.type == "meta"
    assert moved.part is item.part


def test_other_processes_make_the_same_batches(learned, graphs):
    todo = list(parts(learned, np.arange(len(learned)), batch_size=4, max_cost=1e9))
    here, there = (list(load(learned, todo, graphs, workers=n)) for n in (0, 1))
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.energy, b.energy)
        assert torch.equal(a.batch.inputs.vector, b.batch.inputs.vector)


def lonely(frame):
    """Atoms ten times as far apart."""
    return replace(frame, frame_id="lonely", positions=frame.positions * 10, cell=frame.cell * 10)


def test_a_structure_without_graph_is_an_error(data, model, graphs):
    alone = samples([lonely(data.frames[0])], model)
    with pytest.raises(ModelError, match="an isolated atom"):
        labelled(alone, whole(alone), graphs)


def test_frames_without_a_graph_are_told_apart_within_a_pack(data, graphs):
    frames = list(data.frames)
    frames[3] = lonely(frames[3])
    good, bad = graphs.split(frames)
    assert [frame.frame_id for frame in bad] == ["lonely"]
    assert good == [frame for frame in frames if frame.frame_id != "lonely"]


def test_graphs_are_built_once_as_long_as_they_fit(data, model, graphs, monkeypatch):
    built = []
    make = type(model).graphs
    monkeypatch.setattr(type(model), "graphs", lambda self, some: built.extend(some) or make(self, some))
    for _ in range(3):
        graphs.get(data.frames)
    assert len(built) == len(data.frames)
    assert set(graphs.built.values()) == {1}
    small = GraphStore(model, graphs.used / 2)
    for _ in range(2):
        small.get(data.frames)
    assert small.used <= graphs.used / 2
    assert sorted(set(small.built.values())) == [1, 2]


def test_labels_come_in_the_units_of_the_loss(data, model):
    frame = data.frames[-1]
    frame = replace(frame, magmoms=np.full(frame.n_atoms, -2.0))
    (sample,) = samples([frame], model)
    assert sample.energy == frame.energy / frame.n_atoms
    assert np.array_equal(sample.forces, frame.forces)
    np.testing.assert_allclose(sample.stress, frame.stress * EV_PER_A3_IN_GPA)
    assert sample.magmoms.tolist() == [2.0] * frame.n_atoms
    assert (sample.side, sample.frame_id) == ("target", frame.frame_id)
    assert sample.counts == (1, 3 * frame.n_atoms, 9, frame.n_atoms)


def test_missing_labels_and_those_that_the_network_does_not_predict_are_counted_as_missing(data, model, monkeypatch):
    frame = replace(data.frames[0], energy=None, forces=None, stress=None, magmoms=None)
    (sample,) = samples([frame], model)
    assert sample.counts == (0, 0, 0, 0)
    assert sample.forces.shape == (frame.n_atoms, 3)
    monkeypatch.setattr(type(model), "outputs", ("energy", "forces", "stress"))
    (sample,) = samples([replace(data.frames[0], magmoms=np.ones(data.frames[0].n_atoms))], model)
    assert sample.counts[3] == 0


def test_labels_that_are_not_finite_name_their_frames(data, model):
    frames = list(data.frames)
    frames[1] = replace(frames[1], energy=np.nan)
    frames[3] = replace(frames[3], stress=np.full((3, 3), np.inf))
    with pytest.raises(DataError) as caught:
        samples(frames, model)
    assert f"{frames[1].frame_id}, {frames[3].frame_id}; leave" in str(caught.value)


def test_subsets_are_nested_and_of_whole_materials(paired):
    whole = TrainingData.of(paired, "target", 1.0)
    assert [pair.pair_id for pair in whole.pairs] == [pair.pair_id for pair in paired.pairs("train")]
    parts = [TrainingData.of(paired, "target", subset) for subset in (0.4, 0.7, 1.0)]
    ids = [{pair.material_id for pair in part.pairs} for part in parts]
    assert ids[0] < ids[1] <= ids[2]
    assert {p.pair_id for p in parts[1].pairs} == {p.pair_id for p in whole.pairs if p.material_id in ids[1]}


def test_an_empty_subset_is_an_error(paired):
    with pytest.raises(DataError, match="the subset 1e-06 of synthetic has no training pairs; choose a larger one"):
        TrainingData.of(paired, "target", 1e-6)


def test_facts_count_pairs_materials_and_elements(make_pairs):
    pairs = make_pairs(2, 3)
    facts = TrainingData(pairs=pairs, frames=[pair.target for pair in pairs] * 2).facts()
    assert facts == {"pairs": 6, "frames": 12, "materials": 2, "elements": 3}


@pytest.mark.parametrize(
    ("n", "text"), [(1, "a0"), (3, "a0, a1, a2"), (12, "a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 and 2 more")]
)
def test_long_lists_are_cut_and_counted(n, text):
    assert listed([f"a{i}" for i in range(n)]) == text


def test_random_numbers_of_a_part_are_of_seed_epoch_and_place():
    def drawn(seed, epoch, first):
        with torch.random.fork_rng():
            seed_part(seed, epoch, Part(indices=(first,), counts=(1, 1, 1, 1), weight=1.0, is_last=True))
            return float(torch.rand(()))

    assert drawn(0, 1, 2) == drawn(0, 1, 2)
    assert len({drawn(0, 1, 2), drawn(1, 1, 2), drawn(0, 2, 2), drawn(0, 1, 3)}) == 4


@hypothesis.given(
    rows=st.lists(st.floats(1, 1000), min_size=1, max_size=30),
    batch_size=st.integers(1, 12),
    max_cost=st.floats(1, 3000),
    world=st.integers(1, 4),
)
def test_every_sample_is_computed_once_an_epoch_whatever_the_sizes(rows, batch_size, max_cost, world):
    made = [SimpleNamespace(cost=size, counts=(1, 3, 9, 0)) for size in rows]
    ranks = order(1, 0, len(made))
    shares = [
        list(parts(made, ranks, batch_size=batch_size, max_cost=max_cost, rank=rank, world=world))
        for rank in range(world)
    ]
    done = [i for share in shares for part in share if part.weight for i in part.indices]
    assert sorted(done) == list(range(len(made)))
    # every process takes as many steps
    assert {sum(part.is_last for part in share) for share in shares} == {n_batches(len(made), batch_size)}
    for share in shares:
        for part in share:
            assert len(part.indices) == 1 or sum(rows[i] for i in part.indices) <= max_cost * (1 + 1e-12)
            assert part.counts[0] <= batch_size
