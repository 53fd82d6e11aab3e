import io
import math
import os
import signal
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch

from xferbench.errors import DataError
from xferbench.transfer import runner as module
from xferbench.transfer.data import samples
from xferbench.transfer.logs import read_rows
from xferbench.transfer.run import LOG, TIMING
from xferbench.transfer.runner import Clock, Processes, Runner, _stop_signals, gradient_norms, is_sampled, processes
from xferbench.transfer.strategies import build


@pytest.fixture
def make(start, alone, tmp_path):
    """``make(config, strategy=…, validate=…)`` -> a runner on the synthetic springs."""

    def do(config, strategy="finetune", references="fit", validate=None, say=lambda _epoch, _errors: None):
        errors = dict.fromkeys(("energy", "forces", "stress", "magmoms"), 1.0)
        begin = start(strategy, references)
        made = build(begin)
        return Runner(
            transfer=made,
            samples=samples(begin.data.frames, made.model),
            graphs=begin.graphs,
            validate=validate or (lambda _: errors),
            config=config,
            processes=alone,
            directory=tmp_path,
            max_cost=1e9,
            workers=0,
            say=say,
        )

    return do


def test_the_best_validated_epoch_is_kept(make, tiny):
    energies = iter([0.1, 3.0, 1.0, 2.0])
    loop = make(
        tiny(epochs=3), validate=lambda _: dict.fromkeys(("energy", "forces", "stress", "magmoms"), next(energies))
    )
    state = loop.run()
    # what comes before training is no candidate
    assert (state.best, state.best_epoch, state.epoch) == (1.0, 2, 3)
    assert state.best_weights.keys() == loop.model.state_dict().keys()


def test_another_quantity_may_select(make, tiny):
    forces = iter([5.0, 2.0, 9.0])
    loop = make(
        tiny(select="forces"), validate=lambda _: {"energy": 1, "forces": next(forces), "stress": 1, "magmoms": 1}
    )
    assert loop.run().best_epoch == 1


def test_clipping_bounds_the_step_and_the_log_has_the_norm_before_it(make, tiny):
    loop = make(tiny(epochs=1, clip=1e-3, optimizer="sgd", lr=1.0, batch_size=1000))
    before = [p.detach().clone() for p in loop.model.parameters() if p.requires_grad]
    state = loop.run()
    after = [p.detach() for p in loop.model.parameters() if p.requires_grad]
    moved = torch.cat([(a - b).ravel() for a, b in zip(after, before, strict=True)]).norm()
    assert float(moved) == pytest.approx(1e-3, rel=1e-3)
    row = (loop.directory / LOG).read_text().splitlines()[2].split(",")
    assert float(row[4]) > 1e-3
    assert state.step == 1


def test_the_average_is_what_is_validated(make, tiny):
    seen = []

    def validate(network):
        seen.append(network.get_parameter("network.mlp.layers.0.weight").clone())
        return dict.fromkeys(("energy", "forces", "stress", "magmoms"), 1.0)

    loop = make(tiny(epochs=1, ema=0.999), validate=validate)
    state = loop.run()
    own = loop.model.get_parameter("network.mlp.layers.0.weight").detach()
    assert torch.equal(state.best_weights["network.mlp.layers.0.weight"], seen[-1])
    assert (seen[-1] - seen[0]).norm() < 0.2 * (own - seen[0]).norm()


def test_nothing_trains_without_groups(make, tiny):
    loop = make(tiny(), strategy="zero-shot")
    state = loop.run()
    assert (state.step, state.epoch, state.best_epoch) == (0, 0, 0)
    assert state.best_weights


@pytest.mark.parametrize(("strategy", "config"), [("zero-shot", {}), ("finetune", {"epochs": 0})])
def test_there_is_no_bar_where_nothing_trains(make, tiny, capsys, strategy, config):
    make(tiny(**config), strategy=strategy).run(progress=True)
    assert "training" not in capsys.readouterr().err
    make(tiny(epochs=1)).run(progress=True)
    assert "training" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_names_the_frames_at_fault(make, tiny, data):
    loop = make(tiny(batch_size=1000))
    with torch.no_grad():
        loop.model.references[0, 2] = math.nan
    with pytest.raises(
        DataError, match=r"the loss is nan in epoch 1, batch 1: frames .*; check their labels"
    ) as caught:
        loop.run()
    lithium = {frame.frame_id for frame in data.frames if 3 in frame.numbers}
    others = {frame.frame_id for frame in data.frames} - lithium
    assert sum(frame_id in str(caught.value) for frame_id in lithium) == min(10, len(lithium))
    assert not any(frame_id in str(caught.value) for frame_id in others)


@pytest.fixture
def ctrl_c():
    """Python's own handler of SIGINT, which a process started in the background lacks."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_signal_waits_for_the_step_and_the_next_does_not(ctrl_c):
    with _stop_signals(alone=True) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_saves_and_stops_between_steps(make, tiny):
    def interrupted(_network):
        os.kill(os.getpid(), signal.SIGINT)
        return dict.fromkeys(("energy", "forces", "stress", "magmoms"), 1.0)

    loop = make(tiny(), validate=interrupted)
    with pytest.raises(KeyboardInterrupt, match="stopped in epoch 1"):
        loop.run()
    other = make(tiny())
    other.resume()
    assert (other.state.step, other.state.batch) == (1, 1)


def test_the_clock_tells_waiting_from_working():
    clock = Clock()
    assert list(clock.waiting(iter([1, 2, 3]))) == [1, 2, 3]
    clock.frames = 30
    facts = clock.facts()
    assert facts.keys() == {"seconds", "frames_per_second", "waiting_for_data"}
    assert 0 <= facts["waiting_for_data"] <= 1


def test_validation_is_no_part_of_the_timing(make, tiny, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("xferbench.transfer.runner.time.perf_counter", lambda: now[0])

    def validate(_):
        now[0] += 1000.0
        return dict.fromkeys(("energy", "forces", "stress", "magmoms"), 1.0)

    def working(self, made):
        for item in made:
            now[0] += 1.0
            yield item

    monkeypatch.setattr(Clock, "waiting", working)
    loop = make(tiny(epochs=2), validate=validate)
    loop.run()
    rows = read_rows(loop.directory / TIMING)
    assert [row["seconds"] for row in rows] == [loop.n_batches] * 2


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")  # chgnet.model.model makes volumes so
def test_a_step_is_the_step_of_chgnets_trainer(make, tiny, data):
    """The whole training set as one batch: the same weights from the same start, with plain gradient descent."""
    chgnet_model = pytest.importorskip("chgnet.model.model")
    chgnet_trainer = pytest.importorskip("chgnet.trainer.trainer")
    from pymatgen.io.ase import AseAtomsAdaptor

    learned = samples(data.frames, make(tiny()).model)
    with redirect_stdout(io.StringIO()):
        theirs = chgnet_model.CHGNet.from_file(tiny().model.removeprefix("chgnet:"))
    trainer = chgnet_trainer.Trainer(
        theirs,
        targets="efsm",
        energy_loss_ratio=3,
        mag_loss_ratio=1,
        criterion="Huber",
        optimizer="SGD",
        momentum=0.9,
        learning_rate=1e-2,
        use_device="cpu",
    )
    theirs.composition_model.requires_grad_(False)
    graphs = [theirs.graph_converter(AseAtomsAdaptor.get_structure(sample.frame.atoms())) for sample in learned]
    labels = {
        "e": torch.tensor([sample.energy for sample in learned], dtype=torch.float32),
        "f": [torch.tensor(sample.forces, dtype=torch.float32) for sample in learned],
        "s": [torch.tensor(sample.stress, dtype=torch.float32) for sample in learned],
        "m": [torch.tensor(sample.magmoms, dtype=torch.float32) for sample in learned],
    }
    with redirect_stdout(io.StringIO()):
        trainer._train([(graphs, labels)], 0)

    loop = make(tiny(epochs=1, batch_size=1000, optimizer="sgd", lr=1e-2), references="source")
    before = {name: value.clone() for name, value in loop.model.state_dict().items()}
    loop.run()
    moved = 0.0
    for name, value in theirs.state_dict().items():
        if name.startswith("composition_model"):
            continue
        name = f"network.{name}"  # noqa: PLW2901 - theirs lies in ours
        mine = loop.model.state_dict()[name]
        torch.testing.assert_close(mine, value, rtol=1e-4, atol=2e-6)
        moved = max(moved, float((mine - before[name]).abs().max()))
    assert moved > 1e-3


def test_parts_and_batches_take_the_same_step(make, tiny):
    whole, parted = (make(tiny(epochs=1, batch_size=1000, optimizer="sgd")) for _ in range(2))
    parted.max_cost = 200
    for loop in (whole, parted):
        (loop.directory / LOG).unlink(missing_ok=True)
        loop.run()
    assert whole.state.step == parted.state.step == 1
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parted.model.state_dict()[name], value, rtol=1e-4, atol=2e-6)


def test_the_log_has_the_mean_errors_of_the_epoch(make, tiny, data, start):
    """With a learning rate of next to nothing, they are those of the initial network."""
    loop = make(tiny(epochs=1, batch_size=5, optimizer="sgd", lr=1e-30, final_lr=0), references="source")
    found = start().predicted(data.frames)
    energies = [abs(e - frame.energy / frame.n_atoms) for e, frame in zip(found, data.frames, strict=True)]
    loop.run()
    _, row = read_rows(loop.directory / LOG)
    assert row["train_energy"] == pytest.approx(np.mean(energies), rel=1e-4)


def test_nothing_is_built_anew_in_a_run(make, tiny):
    loop = make(tiny(epochs=3))
    loop.run()
    assert set(loop.graphs.built.values()) == {1}


def test_errors_before_training_and_after_the_first_epoch_are_told(make, tiny):
    told = []
    make(tiny(epochs=3), say=lambda epoch, errors: told.append((epoch, errors["energy"]))).run()
    assert told == [(0, 1.0), (1, 1.0)]


@pytest.mark.parametrize(("n", "expected"), [(3, [0, 1, 2]), (10, list(range(10))), (100, list(range(0, 100, 10)))])
def test_ten_steps_of_the_first_epoch_are_looked_at(n, expected):
    assert [batch for batch in range(n) if is_sampled(0, batch, n)] == expected
    assert not any(is_sampled(1, batch, n) for batch in range(n))


def test_norms_are_those_of_torch_by_layer(model):
    layers = model.groups()
    for name in (*layers["readout"], *layers["output"]):
        model.get_parameter(name).grad = torch.full_like(model.get_parameter(name), 2.0)
    norms = gradient_norms(model, layers)
    assert norms.keys() == {"readout", "output"}
    total = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    assert math.hypot(*norms.values()) == pytest.approx(float(total))


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes("cpu") as mine:
        assert mine == Processes(device=torch.device("cpu"), rank=0, world=1)
        assert mine.is_first
        assert mine.gather("a") == ["a"]


def test_a_group_of_one_gathers_what_it_is_given(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        with processes("cpu") as mine:
            assert (mine.rank, mine.world) == (0, 1)
        assert torch.distributed.is_initialized()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("device", "world", "expected"),
    [("cuda", 4, "cuda:3"), ("cuda", 1, "cuda"), ("cuda:1", 4, "cuda:1"), ("cpu", 4, "cpu")],
)
def test_each_process_of_a_node_takes_its_own_gpu(device, world, expected, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert module._own(device, world) == torch.device(expected)
