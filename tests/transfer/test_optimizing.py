import itertools
import math

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from xferbench.transfer.config import TrainConfig
from xferbench.transfer.method import REFERENCES, Setting, build
from xferbench.transfer.optimizing import Average, clip, hold, make_optimizer, rate, set_rates


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


def test_a_group_of_its_own_rate_follows_the_same_schedule(setting):
    student = build("finetune-trainable-refs-own-lr", setting)
    optimizer = make_optimizer(student, setting.config)
    set_rates(optimizer, student.groups, rate=0.004, base=0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.004, pytest.approx(0.4 * 0.3)]


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_the_optimiser_is_the_one_named(name, kind, setting, tiny):
    optimizer = make_optimizer(build("head-only", setting), tiny(optimizer=name, weight_decay=0.1))
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_references_that_wait_do_not_move(setting, tiny):
    config = tiny(epochs=4)
    student = build("finetune-refit-refs-then-unfreeze", Setting(config=config, pairs=setting.pairs))
    optimizer = make_optimizer(student, config)
    table = student.network.get_parameter(REFERENCES)
    before = table.detach().clone()
    for epoch in range(4):
        student.network.requires_grad_(True)
        for parameter in student.network.parameters():
            parameter.grad = torch.ones_like(parameter)
        hold(student, config, epoch)
        optimizer.step()
        assert torch.equal(table, before) == (epoch < 2)


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


def test_the_average_is_an_exponential_one(network):
    network.requires_grad_(False)
    weight = network.get_parameter("mlp.layers.0.weight").requires_grad_(True)
    first = weight.detach().clone()
    average = Average(network, 0.9)
    with torch.no_grad():
        weight.add_(1.0)
    average.update()
    average.update()
    assert list(average.weights) == ["mlp.layers.0.weight"]
    torch.testing.assert_close(average.weights["mlp.layers.0.weight"], first + 1 - 0.9**2)


def test_the_network_has_the_average_within_and_its_own_weights_after(network):
    weight = network.requires_grad_(True).get_parameter("mlp.layers.0.weight")
    average = Average(network, 0.5)
    mean = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    with average.within():
        assert torch.equal(weight, mean)
    torch.testing.assert_close(weight.detach(), mean + 1)


def test_a_saved_average_is_continued(network):
    network.requires_grad_(True)
    one, other = Average(network, 0.5), Average(network, 0.5)
    with torch.no_grad():
        network.get_parameter("site_wise.bias").add_(2)
    one.update()
    other.load(one.weights)
    assert all(torch.equal(value, one.weights[name]) for name, value in other.weights.items())
    assert math.isclose(
        float(one.weights["site_wise.bias"].sum() - network.get_parameter("site_wise.bias").detach().sum()),
        -1,
        rel_tol=1e-5,
    )
