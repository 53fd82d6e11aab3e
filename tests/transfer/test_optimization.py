import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from xferbench.models.trainable import REFERENCES
from xferbench.transfer.config import LossWeights, TrainConfig
from xferbench.transfer.data import Part, labelled, samples
from xferbench.transfer.optimization import (
    Average,
    ParameterGroup,
    clip,
    compared,
    hold,
    loss,
    make_optimizer,
    not_finite,
    rate,
    set_rates,
)
from xferbench.transfer.strategies import build

WEIGHT = "network.mlp.layers.0.weight"


@pytest.fixture
def item(data, model, graphs):
    learned = samples(data.frames[:6], model)
    counts = np.sum([sample.counts for sample in learned], axis=0).tolist()
    part = Part(indices=tuple(range(len(learned))), counts=tuple(counts), weight=1.0, is_last=True)
    return labelled(learned, part, graphs)


@pytest.fixture
def output(model, item):
    found = model(item.batch)
    return replace(found, energy=found.energy.float())


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


def test_missing_labels_make_no_loss_and_no_gradient(model, item):
    model.requires_grad_(True).train()
    nothing = torch.full_like(item.energy, math.nan)
    counts = (0, *item.part.counts[1:])
    blank = replace(item, energy=nothing, part=replace(item.part, counts=counts))
    found = loss(model(item.batch), blank, TrainConfig(loss=LossWeights(forces=0, stress=0, magmoms=0)))
    assert float(found.value.detach()) == float(found.errors[0]) == 0
    other = loss(model(item.batch), blank, TrainConfig())
    other.value.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)
    # references act on energies alone, and there is no energy
    assert not model.get_parameter(REFERENCES).grad.any()


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


def test_the_cosine_is_that_of_torch_stepped_ten_times_an_epoch():
    config = TrainConfig(epochs=3)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    scheduler = CosineAnnealingLR(optimizer, T_max=10 * config.epochs, eta_min=config.final_lr)
    n = 40
    for epoch in range(config.epochs):
        for batch in range(n):
            assert rate(config, epoch, batch, n) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
            optimizer.step()
            if (batch + 1) % (n // 10) == 0:
                scheduler.step()


def test_few_batches_still_come_to_the_end_of_the_schedule():
    config = TrainConfig(epochs=20)
    assert rate(config, 0, 0, 2) == config.lr
    assert rate(config, 19, 1, 2) < 1.2e-5
    values = [rate(config, epoch, batch, 2) for epoch in range(20) for batch in range(2)]
    assert values == sorted(values, reverse=True)


def test_warm_up_grows_to_the_schedule():
    config = TrainConfig(epochs=4, warmup=1.0, schedule="constant")
    values = [rate(config, 0, batch, 10) for batch in range(10)]
    steps = [b - a for a, b in itertools.pairwise(values)]
    assert 0 < values[0] < 0.1 * config.lr
    assert max(steps) == pytest.approx(min(steps))
    assert rate(config, 1, 0, 10) == config.lr


def test_a_group_of_its_own_rate_follows_the_same_schedule(start):
    begin = start("finetune", "source:lr=0.3")
    made = build(begin)
    optimizer = make_optimizer(made.model, made.groups, begin.config)
    set_rates(optimizer, made.groups, rate=0.004, base=0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.004, pytest.approx(0.4 * 0.3)]


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_the_optimizer_is_the_one_named(name, kind, model, tiny):
    group = ParameterGroup(name="a", parameters=(WEIGHT,))
    optimizer = make_optimizer(model, [group], tiny(optimizer=name, weight_decay=0.1))
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_references_that_wait_do_not_move(start):
    begin = start("finetune", "fit:after=2")
    made = build(begin)
    optimizer = make_optimizer(made.model, made.groups, begin.config)
    table = made.model.get_parameter(REFERENCES)
    before = table.detach().clone()
    for step in range(4):
        for parameter in made.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        hold(made.model, made.groups, step)
        optimizer.step()
        assert torch.equal(table, before) == (step < 2)


@pytest.mark.parametrize("largest", [None, 0.5, 1e9])
def test_the_norm_is_that_of_torch_and_the_gradient_is_scaled_to_it(largest):
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2,))]
    others = [torch.nn.Parameter(torch.zeros_like(parameter)) for parameter in parameters]
    for parameter, other in list(zip(parameters, others, strict=True))[:2]:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        other.grad = parameter.grad.clone()
    expected = torch.nn.utils.clip_grad_norm_(others[:2], math.inf if largest is None else largest)
    assert clip(parameters, largest) == float(expected) > 1
    assert all(torch.equal(a.grad, b.grad) for a, b in list(zip(parameters, others, strict=True))[:2])
    assert parameters[2].grad is None


def test_the_average_is_an_exponential_one(model):
    model.requires_grad_(False)
    weight = model.get_parameter(WEIGHT).requires_grad_(True)
    first = weight.detach().clone()
    average = Average(model, 0.9)
    with torch.no_grad():
        weight.add_(1.0)
    average.update()
    average.update()
    assert list(average.weights) == [WEIGHT]
    torch.testing.assert_close(average.weights[WEIGHT], first + 1 - 0.9**2)


def test_the_network_has_the_average_within_and_its_own_weights_after(model):
    weight = model.requires_grad_(True).get_parameter(WEIGHT)
    average = Average(model, 0.5)
    mean = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    with average.within():
        assert torch.equal(weight, mean)
    torch.testing.assert_close(weight.detach(), mean + 1)


def test_a_saved_average_is_continued(model):
    model.requires_grad_(True)
    one, other = Average(model, 0.5), Average(model, 0.5)
    with torch.no_grad():
        model.get_parameter("network.site_wise.bias").add_(2)
    one.update()
    other.load(one.weights)
    assert all(torch.equal(value, one.weights[name]) for name, value in other.weights.items())
    assert math.isclose(
        float(
            one.weights["network.site_wise.bias"].sum() - model.get_parameter("network.site_wise.bias").detach().sum()
        ),
        -1,
        rel_tol=1e-5,
    )
