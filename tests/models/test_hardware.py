"""The arena hands out memory once per pass, and denormals come back after the block."""

from __future__ import annotations

import torch

from xferbench.models.hardware import Arena, flushed_denormals, warm_heap


def arena(dtype=torch.float32):
    return Arena(dtype=dtype, device=torch.device("cpu"))


def test_arrays_of_one_pass_do_not_overlap():
    room = arena()
    for _ in range(3):
        arrays = [room.empty(5, 3).fill_(value) for value in range(4)]
        assert [array.unique().item() for array in arrays] == [0, 1, 2, 3]
        room.reset()


def test_the_second_pass_uses_the_memory_of_the_first():
    room = arena(torch.float64)
    room.empty(10, 10)
    room.reset()
    first = room.empty(10, 10).data_ptr()
    room.reset()
    assert room.empty(10, 10).data_ptr() == first
    assert first % 8 == 0


def test_a_kept_array_is_a_copy_that_survives_the_original():
    room = arena()
    room.keep(torch.zeros(4, 2))
    room.reset()
    original = torch.ones(4, 2)
    kept = room.keep(original)
    original.zero_()
    assert kept.tolist() == [[1, 1]] * 4


def test_a_pass_larger_than_the_last_gets_its_room_all_the_same():
    room = arena()
    room.empty(2, 2)
    room.reset()
    assert room.empty(100, 7).shape == (100, 7)


def test_the_type_is_kept():
    room = arena(torch.float64)
    room.empty(3, 3)
    room.reset()
    assert room.empty(3, 3).dtype == torch.float64


def test_denormals_are_zero_inside_the_block_only():
    tiny = torch.full((64,), 1e-39)
    with flushed_denormals():
        assert (tiny * 1.0).sum() == 0
        with flushed_denormals():
            pass
        assert (tiny * 1.0).sum() == 0
    assert (tiny * 1.0).sum() > 0


def test_denormals_come_back_after_an_error():
    try:
        with flushed_denormals():
            raise KeyError  # noqa: TRY301 - the error is the point
    except KeyError:
        pass
    assert torch.tensor(1e-39) * 1.0 > 0


def test_warming_the_heap_leaves_nothing_behind():
    assert warm_heap() is None
