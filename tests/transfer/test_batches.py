from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch.optim import SGD

from xferbench.errors import ModelError
from xferbench.transfer.batches import Part, labelled, load, n_batches, order, parts
from xferbench.transfer.loss import loss
from xferbench.transfer.method import weights_of
from xferbench.transfer.samples import samples


@pytest.fixture
def learned(setting):
    return samples(pair.r2scan for pair in setting.pairs)


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


@pytest.mark.parametrize("max_rows", [1, 500, 1e9])
def test_the_parts_of_an_epoch_are_its_batches_in_order(learned, max_rows):
    ranks = order(0, 0, len(learned))
    made = list(parts(learned, ranks, batch_size=4, max_rows=max_rows))
    assert [i for part in made for i in part.indices] == ranks.tolist()
    assert sum(part.is_last for part in made) == n_batches(len(learned), 4)
    sizes = [sum(learned[i].rows for i in part.indices) for part in made]
    assert all(size <= max_rows or len(part.indices) == 1 for size, part in zip(sizes, made, strict=True))


def test_an_epoch_continued_in_the_middle_makes_the_same_parts(learned):
    ranks = order(0, 0, len(learned))
    everything = list(parts(learned, ranks, batch_size=4, max_rows=1e9))
    assert list(parts(learned, ranks, batch_size=4, max_rows=1e9, start=2)) == everything[2:]


@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_share_every_batch_and_agree_on_its_counts(learned, world):
    ranks = order(0, 0, len(learned))
    alone = list(parts(learned, ranks, batch_size=4, max_rows=1e9))
    shares = [list(parts(learned, ranks, batch_size=4, max_rows=1e9, rank=r, world=world)) for r in range(world)]
    for number, part in enumerate(alone):
        mine = [share[number] for share in shares]
        assert sorted(i for item in mine if item.weight for i in item.indices) == sorted(part.indices)
        assert {item.counts for item in mine} == {part.counts}
        assert all(item.indices for item in mine)


def test_parts_have_the_gradient_of_the_whole_batch(learned, network, tiny):
    network.requires_grad_(True)
    batch = np.arange(len(learned))

    def gradient(max_rows):
        SGD(network.parameters(), lr=1.0).zero_grad()
        for item in load(
            learned,
            list(parts(learned, batch, batch_size=len(learned), max_rows=max_rows)),
            network.settings,
            workers=0,
        ):
            loss(network(item.batch, create_graph=True), item, tiny()).value.backward()
        return torch.cat([network.get_parameter(name).grad.ravel() for name in weights_of(network)])

    at_once, in_parts = gradient(1e9), gradient(300)
    assert at_once.abs().max() > 1e-3
    torch.testing.assert_close(at_once, in_parts, rtol=1e-4, atol=1e-6)


def test_atoms_of_gga_frames_are_numbered_beyond_the_last_element(setting):
    pair = setting.pairs[0]
    mixed = samples([pair.r2scan, pair.gga])
    item = labelled(mixed, whole(mixed), setting.pretrained().settings)
    n = pair.r2scan.n_atoms
    assert item.batch.numbers[:n].tolist() == pair.r2scan.numbers.tolist()
    assert (item.batch.numbers[n:] - 94).tolist() == pair.gga.numbers.tolist()


def test_a_batch_that_is_on_the_device_is_not_copied(learned, setting):
    item = labelled(learned, whole(learned), setting.pretrained().settings)
    assert item.to(torch.device("cpu")) is item
    moved = item.to(torch.device("meta"))
    assert moved.batch.ends.indices.device.type == moved.energy.device.type == "meta"
    assert moved.part is item.part


def test_other_processes_make_the_same_batches(learned, setting):
    todo = list(parts(learned, np.arange(len(learned)), batch_size=4, max_rows=1e9))
    settings = setting.pretrained().settings
    here, there = (list(load(learned, todo, settings, workers=n)) for n in (0, 1))
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.energy, b.energy)
        assert torch.equal(a.batch.vector, b.batch.vector)


def test_a_structure_without_graph_is_an_error(setting):
    lonely = samples([setting.pairs[0].r2scan])
    lonely[0].atoms.set_cell(lonely[0].atoms.cell * 10, scale_atoms=True)
    with pytest.raises(ModelError, match="an isolated atom"):
        labelled(lonely, whole(lonely), setting.pretrained().settings)


@hypothesis.given(
    rows=st.lists(st.floats(1, 1000), min_size=1, max_size=30),
    batch_size=st.integers(1, 12),
    max_rows=st.floats(1, 3000),
    world=st.integers(1, 4),
)
def test_every_sample_is_computed_once_an_epoch_whatever_the_sizes(rows, batch_size, max_rows, world):
    made = [SimpleNamespace(rows=size, counts=(1, 3, 9, 0)) for size in rows]
    ranks = order(1, 0, len(made))
    shares = [
        list(parts(made, ranks, batch_size=batch_size, max_rows=max_rows, rank=rank, world=world))
        for rank in range(world)
    ]
    done = [i for share in shares for part in share if part.weight for i in part.indices]
    assert sorted(done) == list(range(len(made)))
    # every process takes as many steps
    assert {sum(part.is_last for part in share) for share in shares} == {n_batches(len(made), batch_size)}
    for share in shares:
        for part in share:
            assert len(part.indices) == 1 or sum(rows[i] for i in part.indices) <= max_rows * (1 + 1e-12)
            assert part.counts[0] <= batch_size
