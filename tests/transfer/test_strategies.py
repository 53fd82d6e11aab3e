"""Every strategy, on a network of 900 weights."""

import inspect

import numpy as np
import pytest
import torch

from xferbench.errors import ModelError, StorageError, UsageError
from xferbench.models.chgnet.checkpoint import load_network, save_network
from xferbench.models.chgnet.model import new_network
from xferbench.models.trainable import OUTPUT, REFERENCES, Matrix, Predictor, predict
from xferbench.registry import STRATEGIES, resolve
from xferbench.transfer.strategies import LowRank, LowRankOptions, build

NETWORK = sorted(set(STRATEGIES) - {"zero-shot"})


def says(model, frames, graphs, side="target"):
    costs = [1.0] * len(frames)
    return predict(model.eval(), [f.numbers for f in frames], graphs.get(frames), costs, side=side)


def shaken(model):
    """All weights that train, moved at random."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_says_what_it_does_and_what_its_settings_are(name):
    strategy = resolve("strategy", name, STRATEGIES)
    assert len(inspect.getdoc(strategy).splitlines()[0]) < 140
    assert list(inspect.signature(strategy).parameters) == ["start", "options"]


@pytest.mark.parametrize("name", STRATEGIES)
def test_what_trains_wants_gradients_and_nothing_else(name, start):
    made = build(start(name))
    groups = [parameter for group in made.groups for parameter in group.parameters]
    assert len(groups) == len(set(groups))
    assert {n for n, p in made.model.named_parameters() if p.requires_grad} == set(groups)
    assert bool(groups) == (name != "zero-shot")


@pytest.mark.parametrize("name", NETWORK)
@pytest.mark.parametrize(
    ("training", "lr", "after"), [("trainable", None, 0), ("lr=0.3", 0.3, 0), ("after=5", None, 5)]
)
def test_references_train_with_every_strategy(name, training, lr, after, start):
    *_, last = build(start(name, f"fit:{training}")).groups
    assert (last.name, last.parameters, last.lr, last.after) == (REFERENCES, (REFERENCES,), lr, after)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_saved_network_predicts_what_the_trained_one_does(name, start, tmp_path):
    begin = start(name)
    made = build(begin)
    frames = begin.data.frames[:5]
    model = shaken(made.model)
    for side in ("target", "source")[: model.n_sides]:
        model.save(tmp_path / "x.pth.tar", side)
        again = type(model).load(str(tmp_path / "x.pth.tar"))
        for one, other in zip(says(model, frames, begin.graphs, side), says(again, frames, begin.graphs), strict=True):
            assert one["energy"] == pytest.approx(other["energy"], abs=1e-4)
            np.testing.assert_allclose(one["forces"], other["forces"], atol=1e-5)
            np.testing.assert_allclose(one["magmoms"], other["magmoms"], atol=1e-5)


def test_the_start_is_loaded_once_and_graphs_are_built_once(start, monkeypatch):
    from xferbench.models.chgnet import trainable

    calls = []
    load = trainable.load_network
    monkeypatch.setattr(trainable, "load_network", lambda path: calls.append(path) or load(path))
    for name in ("finetune", "lora", "delta", "replay", "ewc"):
        calls.clear()
        begin = start(name, "model-aware")
        build(begin)
        assert len(calls) == 1, name
        assert set(begin.graphs.built.values()) == {1}, name


def test_scratch_has_the_shape_and_not_the_weights_of_the_start(start, weights):
    one, same, other = (build(start("scratch", seed=seed)).model for seed in (3, 3, 4))
    name = one.groups()[OUTPUT][0]
    assert torch.equal(one.get_parameter(name), same.get_parameter(name))
    assert not torch.equal(one.get_parameter(name), other.get_parameter(name))
    assert one.network.settings == load_network(weights).settings


@pytest.mark.parametrize(("name", "options", "groups"), [
    ("head", {}, {"readout", OUTPUT}),
    ("last-blocks", {}, {"block-3", "readout", OUTPUT}),
    ("last-blocks", {"blocks": 2}, {"block-2", "block-3", "readout", OUTPUT}),
])  # fmt: skip
def test_parts_of_the_network_train(name, options, groups, start):
    made = build(start(name, options=options))
    expected = {parameter for group in groups for parameter in made.model.groups()[group]}
    assert set(made.groups[0].parameters) == expected


def test_there_are_no_more_blocks_than_blocks(start):
    with pytest.raises(UsageError, match=r"options\.blocks = 4 must be from 1 to 3"):
        build(start("last-blocks", options={"blocks": 4}))


def test_a_low_rank_change_has_the_rank_and_is_nothing_at_first():
    layer = torch.nn.Linear(5, 7)
    options, generator = LowRankOptions(rank=2, alpha=6), torch.Generator().manual_seed(0)
    change = LowRank(Matrix.whole(layer), options, generator)
    assert torch.equal(change(layer.weight), layer.weight)
    with torch.no_grad():
        change.up[0].normal_()
    moved = change(layer.weight) - layer.weight
    torch.testing.assert_close(moved, 3 * change.up[0] @ change.down[0])
    assert int(torch.linalg.matrix_rank(moved)) == 2


def test_a_parameter_of_several_matrices_is_changed_block_by_block():
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.zeros(1 + 6 + 4))
    change = LowRank(
        Matrix(module=module, name="weight", blocks=((1, 3, 2), (7, 2, 2))),
        LowRankOptions(rank=1, alpha=1),
        torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        for up in change.up:
            up.fill_(1.0)
    moved = change(module.weight)
    assert float(moved[0].detach()) == 0
    torch.testing.assert_close(moved[1:7].reshape(3, 2), change.down[0].expand(3, 2))
    torch.testing.assert_close(moved[7:].reshape(2, 2), change.down[1].expand(2, 2))


def test_adapters_are_of_the_seed_and_start_as_nothing(start, model):
    one, other = build(start("lora", seed=0)), build(start("lora", seed=9))
    name = one.groups[0].parameters[0]
    assert not torch.equal(one.model.get_parameter(name), other.model.get_parameter(name))
    begin = start("lora", "source")
    frames = begin.data.frames[:4]
    for a, b in zip(says(build(begin).model, frames, begin.graphs), says(model, frames, begin.graphs), strict=True):
        np.testing.assert_array_equal(a["forces"], b["forces"])


def test_delta_starts_as_the_start_and_can_move(start):
    begin = start("delta", "model-aware")
    made = build(begin)
    frames = begin.data.frames
    change, base = (says(network, frames, begin.graphs) for network in (made.model, made.base))
    assert max(np.abs(found["forces"]).max() for found in change) == 0
    aware = start("finetune", "model-aware")
    whole = says(build(aware).model, frames, aware.graphs)
    for a, b, c in zip(change, base, whole, strict=True):
        assert a["energy"] + b["energy"] == pytest.approx(c["energy"], abs=1e-3)
    assert not any(parameter.requires_grad for parameter in made.base.parameters())


@pytest.mark.parametrize("name", ["multi-fidelity", "replay"])
def test_both_sides_start_as_one_network_with_references_of_their_own(name, start):
    begin = start(name, "fit")
    made = build(begin)
    frames = begin.data.frames[:4]
    target, source = (says(made.model, frames, begin.graphs, side) for side in ("target", "source"))
    for a, b in zip(target, source, strict=True):
        np.testing.assert_allclose(a["forces"], b["forces"], atol=1e-6)
    one, two = (made.model.reference_energies(side) for side in ("target", "source"))
    # -5.8 against -1.8 eV in the labels of chlorine
    place = made.model.elements.index(17)
    assert one[place] - two[place] == pytest.approx(-4.0, abs=0.1)
    assert made.source_share == {"multi-fidelity": 1.0, "replay": 0.25}[name]


def test_a_share_is_a_share(start):
    with pytest.raises(UsageError, match=r"options\.source_share = 1.5 must be above 0 and at most 1"):
        build(start("replay", options={"source_share": 1.5}))


def test_consolidation_pulls_back_what_matters_to_the_source(start):
    made = build(start("ewc", options={"strength": 2.0, "frames": 3}))
    name = next(name for name, value in made.penalty.importance.items() if value.any())
    assert min(float(value.min()) for value in made.penalty.importance.values()) >= 0
    parameter = made.model.get_parameter(name)
    parameter.grad = torch.zeros_like(parameter)
    with torch.no_grad():
        parameter += 0.5
    made.penalty.add_gradients(made.model)
    torch.testing.assert_close(parameter.grad, 2.0 * made.penalty.importance[name] * 0.5)


def test_options_that_a_strategy_does_not_have_are_refused(start):
    with pytest.raises(UsageError, match="options of head: unknown key rank"):
        build(start("head", options={"rank": 4}))


def test_a_start_that_is_not_there_is_one_line(start, tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .*no\.pth\.tar"):
        build(start(model=f"chgnet:{tmp_path}/no.pth.tar"))


def test_a_start_without_references_is_refused(start, weights, tmp_path):
    save_network(new_network(0, settings=load_network(weights).settings), tmp_path / "bare.pth.tar")
    with pytest.raises(ModelError, match="has no references per atom"):
        build(start(model=f"chgnet:{tmp_path}/bare.pth.tar"))


def test_predicted_energies_are_those_of_the_potential(start, model):
    begin = start()
    frames = begin.data.frames
    energies = begin.predicted(frames)
    (single,) = Predictor.of(model, "r2SCAN").predict([frames[2].atoms()])
    assert energies.shape == (len(frames),)
    assert energies[2] == pytest.approx(single["energy"] / frames[2].n_atoms, abs=1e-6)
