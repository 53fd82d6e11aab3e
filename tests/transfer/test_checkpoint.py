import pytest
import torch

from xferbench.errors import IntegrityError, StorageError
from xferbench.transfer import checkpoint
from xferbench.transfer.checkpoint import State
from xferbench.transfer.optimization import Average, make_optimizer
from xferbench.transfer.strategies import build


def parts_of(begin):
    made = build(begin)
    return made.model, make_optimizer(made.model, made.groups, begin.config), Average(made.model, 0.9)


@pytest.fixture
def parts(start):
    return parts_of(start("head"))


def test_everything_comes_back(parts, start, tmp_path):
    model, optimizer, average = parts
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    average.update()
    sums = [0.1] * checkpoint.N_SUMS
    now = State(epoch=3, batch=2, step=31, sums=sums, log_bytes=77, best=0.2, best_epoch=1, before={"zero_shot": 0.5})
    now.best_weights = {"a": torch.ones(2)}
    now.gradients = [{"step": 0, "loss": 1.5, "gradient_norms": {"readout": 2.0}}]
    checkpoint.save(tmp_path / "c.pt", now, model, optimizer, average)
    other = parts_of(start("head"))
    back = checkpoint.load(tmp_path / "c.pt", *other)
    assert (back.epoch, back.batch, back.step, back.sums, back.log_bytes) == (3, 2, 31, sums, 77)
    assert (back.best, back.best_epoch, back.gradients, back.before) == (0.2, 1, now.gradients, now.before)
    assert torch.equal(back.best_weights["a"], torch.ones(2))
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in other[0].state_dict().items())
    assert all(torch.equal(value, average.weights[name]) for name, value in other[2].weights.items())
    moments = [value["exp_avg"] for value in optimizer.state_dict()["state"].values()]
    again = [value["exp_avg"] for value in other[1].state_dict()["state"].values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, again, strict=True))


def test_the_same_state_gives_the_same_bytes(parts, tmp_path):
    for name in ("a.pt", "b.pt"):
        checkpoint.save(tmp_path / name, State(), *parts)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_damaged_checkpoint_is_one_line(keep, parts, tmp_path):
    path = tmp_path / "c.pt"
    checkpoint.save(path, State(), *parts)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(IntegrityError, match=r"c\.pt is damaged or of another run"):
        checkpoint.load(path, *parts)


def test_a_checkpoint_of_another_strategy_is_one_line(parts, start, tmp_path):
    checkpoint.save(tmp_path / "c.pt", State(), *parts)
    model, optimizer, _ = parts_of(start("replay"))
    with pytest.raises(IntegrityError, match="is damaged or of another run"):
        checkpoint.load(tmp_path / "c.pt", model, optimizer, None)


def test_a_checkpoint_that_is_not_there_is_one_line(parts, tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .*c\.pt"):
        checkpoint.load(tmp_path / "c.pt", *parts)
