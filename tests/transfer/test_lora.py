import pytest
import torch

from xferbench.errors import UsageError
from xferbench.transfer.lora import LowRank, Rank
from xferbench.transfer.method import Setting, build, plain


def test_the_change_has_the_rank_and_is_nothing_at_first():
    weight = torch.randn(7, 5)
    change = LowRank(weight, Rank(rank=2, alpha=6), torch.Generator().manual_seed(0))
    assert torch.equal(change(weight), weight)
    with torch.no_grad():
        change.up.normal_()
    moved = change(weight) - weight
    torch.testing.assert_close(moved, 3 * change.up @ change.down)
    assert int(torch.linalg.matrix_rank(moved)) == 2


def test_the_student_starts_as_the_model_and_only_thin_matrices_train(setting):
    student = build("lora", setting)
    start = build("zero-shot", setting).network.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in plain(student.network).state_dict().items())
    assert all(name.endswith((".down", ".up")) for name in student.groups[0].weights)


def test_matrices_are_moved_and_biases_are_not(setting, tiny):
    student = build("lora", Setting(config=tiny(options={"rank": 1}), pairs=setting.pairs))
    with torch.no_grad():
        for name in student.groups[0].weights:
            student.network.get_parameter(name).add_(0.1)
    start = build("zero-shot", setting).network.state_dict()
    moved = {name for name, value in plain(student.network).state_dict().items() if not torch.equal(value, start[name])}
    assert all(name.endswith("weight") and start[name].ndim == 2 for name in moved)
    assert {name.split(".")[0] for name in moved} == {"atom_conv_layers", "bond_conv_layers", "angle_layers", "mlp"}


def test_the_seed_decides_the_adapters(setting, tiny):
    one, same = (build("lora", setting).network for _ in range(2))
    other = build("lora", Setting(config=tiny(seed=9), pairs=setting.pairs)).network
    name = next(name for name, _ in one.named_parameters() if name.endswith(".down"))
    assert torch.equal(one.get_parameter(name), same.get_parameter(name))
    assert not torch.equal(one.get_parameter(name), other.get_parameter(name))


def test_a_rank_is_positive(setting, tiny):
    with pytest.raises(UsageError, match=r"options\.rank = 0 must be 1 or more"):
        build("lora", Setting(config=tiny(options={"rank": 0}), pairs=setting.pairs))
