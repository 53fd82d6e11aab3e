import pytest
import torch

from xferbench.errors import IntegrityError, StorageError
from xferbench.transfer import state
from xferbench.transfer.method import build
from xferbench.transfer.optimizing import Average, make_optimizer


@pytest.fixture
def parts(setting):
    student = build("head-only", setting)
    return student.network, make_optimizer(student, setting.config), Average(student.network, 0.9)


def test_everything_comes_back(parts, setting, tmp_path):
    network, optimizer, average = parts
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    average.update()
    now = state.State(epoch=3, batch=2, step=31, sums=[0.1] * state.N_SUMS, log_bytes=77, best=0.2, best_epoch=1)
    now.best_weights = {"a": torch.ones(2)}
    now.health = [{"step": 0, "loss": 1.5, "gradient_norms": {"mlp.layers": 2.0}}]
    state.save(tmp_path / "c.pt", now, network, optimizer, average)

    student = build("head-only", setting)
    other = student.network, make_optimizer(student, setting.config), Average(student.network, 0.9)
    back = state.load(tmp_path / "c.pt", *other)
    assert (back.epoch, back.batch, back.step, back.sums, back.log_bytes) == (3, 2, 31, [0.1] * state.N_SUMS, 77)
    assert (back.best, back.best_epoch, back.health) == (0.2, 1, now.health)
    assert torch.equal(back.best_weights["a"], torch.ones(2))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in other[0].state_dict().items())
    assert all(torch.equal(value, average.weights[name]) for name, value in other[2].weights.items())
    moments = [value["exp_avg"] for value in optimizer.state_dict()["state"].values()]
    again = [value["exp_avg"] for value in other[1].state_dict()["state"].values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, again, strict=True))


def test_the_same_state_gives_the_same_bytes(parts, tmp_path):
    for name in ("a.pt", "b.pt"):
        state.save(tmp_path / name, state.State(), *parts)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_damaged_checkpoint_is_one_line(keep, parts, tmp_path):
    path = tmp_path / "c.pt"
    state.save(path, state.State(), *parts)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(IntegrityError, match=r"c\.pt is damaged or of another run"):
        state.load(path, *parts)


def test_a_checkpoint_of_another_method_is_one_line(parts, setting, tmp_path):
    state.save(tmp_path / "c.pt", state.State(), *parts)
    student = build("replay", setting)
    with pytest.raises(IntegrityError, match="is damaged or of another run"):
        state.load(tmp_path / "c.pt", student.network, make_optimizer(student, setting.config), None)


def test_a_checkpoint_that_is_not_there_is_one_line(parts, tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .*c\.pt"):
        state.load(tmp_path / "c.pt", *parts)
