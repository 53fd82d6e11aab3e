import pytest
import torch

from xferbench.transfer.distributed import Processes, processes


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes("cpu") as mine:
        assert mine == Processes(device=torch.device("cpu"), rank=0, world=1)
        assert mine.is_first
        assert mine.gather("a") == ["a"]


def test_a_group_of_one_gathers_what_it_is_given(monkeypatch, tmp_path):
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
    from xferbench.transfer import distributed

    monkeypatch.setenv("LOCAL_RANK", "3")
    assert distributed._own(device, world) == torch.device(expected)
