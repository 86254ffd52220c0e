"""Output memory is reused, bounded, and never shared by two living tensors."""

import gc

import torch

from common.kernels.memory import OutputPool

LARGE = torch.empty(3 << 20)  # 12 MB: worth a mapping of its own
MEBIBYTE = 1 << 20


def test_memory_of_a_dead_tensor_serves_the_next():
    pool = OutputPool(limit=64 * MEBIBYTE)
    first = pool.empty_like(LARGE)
    address = first.data_ptr()
    del first
    assert pool.empty_like(LARGE).data_ptr() == address


def test_living_tensors_share_no_memory():
    pool = OutputPool(limit=64 * MEBIBYTE)
    first = pool.empty_like(LARGE).fill_(1)
    second = pool.empty_like(LARGE).fill_(2)
    assert first.eq(1).all() and second.eq(2).all()


def test_a_view_keeps_the_memory_alive():
    pool = OutputPool(limit=64 * MEBIBYTE)
    view = pool.empty_like(LARGE).fill_(1)[:5]
    gc.collect()
    pool.empty_like(LARGE).fill_(2)
    assert view.eq(1).all()


def test_idle_memory_is_bounded():
    pool = OutputPool(limit=30 * MEBIBYTE)
    tensors = [pool.empty_like(LARGE) for _ in range(5)]
    del tensors
    assert sum(map(len, pool.idle)) <= 30 * MEBIBYTE


def test_shape_dtype_and_memory_order_are_those_of_the_example():
    example = torch.empty(8, 3, 512, 512, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    made = OutputPool(limit=0).empty_like(example)
    assert (made.shape, made.dtype, made.stride()) == (example.shape, example.dtype, example.stride())
    assert made.untyped_storage().nbytes() == example.untyped_storage().nbytes()


def test_small_tensors_come_from_torch():
    pool = OutputPool(limit=64 * MEBIBYTE)
    pool.empty_like(torch.empty(1000))
    assert not pool.idle
