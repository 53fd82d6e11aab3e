import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from xferbench.transfer.batches import Part, labelled
from xferbench.transfer.config import LossWeights, TrainConfig
from xferbench.transfer.loss import compared, loss, not_finite
from xferbench.transfer.samples import samples


def make(learned, settings):
    counts = np.sum([sample.counts for sample in learned], axis=0).tolist()
    part = Part(indices=tuple(range(len(learned))), counts=tuple(counts), weight=1.0, is_last=True)
    return labelled(learned, part, settings)


@pytest.fixture
def item(setting):
    return make(samples(pair.r2scan for pair in setting.pairs[:6]), setting.pretrained().settings)


@pytest.fixture
def output(network, item):
    return network(item.batch)


def test_it_is_the_loss_of_chgnet(output, item):
    trainer = pytest.importorskip("chgnet.trainer.trainer")
    theirs = trainer.CombinedLoss(
        target_str="efsm",
        criterion="Huber",
        energy_loss_ratio=3,
        force_loss_ratio=1,
        stress_loss_ratio=0.1,
        mag_loss_ratio=1,
        delta=0.1,
    )
    counts = item.batch.counts.tolist()
    (e, e_label), (f, f_label), (s, s_label), (m, m_label) = compared(output, item)
    wanted = theirs(
        {"e": e_label, "f": f_label.split(counts), "s": list(s_label), "m": m_label.split(counts)},
        {"e": e, "f": f.split(counts), "s": list(s), "m": m.split(counts)},
    )
    found = loss(output, item, TrainConfig())
    assert float(found.value) == pytest.approx(float(wanted["loss"]), rel=1e-6)
    for place, name in enumerate("efsm"):
        n = item.part.counts[place]
        assert float(found.errors[place]) / n == pytest.approx(float(wanted[f"{name}_MAE"]), rel=1e-6)


def test_huber_by_hand(item):
    """Errors of 0.02 are below delta = 0.1: half their square; errors of 1 are above: 0.1 (1 - 0.05)."""
    n = item.batch.counts

    class Found:
        energy = (item.energy + 0.02) * n
        forces = item.forces + 1.0
        stress = item.stress / 160.2176634
        magmoms = torch.where(torch.isnan(item.magmoms), 7.0, item.magmoms)

    value = float(loss(Found, item, TrainConfig()).value)
    assert value == pytest.approx(3 * 0.02**2 / 2 + 0.1 * (1 - 0.05), rel=1e-3)


def test_missing_labels_make_no_loss_and_no_gradient(network, item):
    network.requires_grad_(True)
    nothing = torch.full_like(item.energy, math.nan)
    counts = (0, *item.part.counts[1:])
    blank = replace(item, energy=nothing, part=replace(item.part, counts=counts))
    found = loss(
        network(item.batch, create_graph=True), blank, TrainConfig(loss=LossWeights(forces=0, stress=0, magmoms=0))
    )
    assert float(found.value.detach()) == float(found.errors[0]) == 0
    other = loss(network(item.batch, create_graph=True), blank, TrainConfig())
    other.value.backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    # references act on energies alone, and there is no energy
    assert not network.get_parameter("composition_model.fc.weight").grad.any()


def test_a_process_without_a_share_adds_nothing(output, item):
    idle = replace(item, part=replace(item.part, weight=0.0))
    found = loss(output, idle, TrainConfig())
    assert float(found.value) == float(found.errors.sum()) == 0


def test_only_the_samples_at_fault_are_named(output, item):
    forces = output.forces.clone()
    atom = int(item.batch.counts[:2].sum())
    forces[atom, 1] = math.nan
    energy = output.energy.clone()
    energy[4] = math.inf
    assert not_finite(output, item) == []
    assert not_finite(replace(output, forces=forces, energy=energy), item) == [2, 4]


def test_a_network_that_was_not_asked_for_forces_is_a_bug(network, item):
    with pytest.raises(ValueError, match="was not asked for forces and stress"):
        loss(network(item.batch, forces=False, stress=False), item, TrainConfig())
