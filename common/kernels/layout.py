"""A tensor as compiled kernels see it: outer x steps x inner contiguous blocks."""

import math

from torch import Tensor


def dense(x: Tensor) -> Tensor:
    """`x` itself if its numbers fill one stretch of memory in any order of axes, else a copy that does."""
    if x.is_contiguous():
        return x
    filled = 1
    for stride, size in sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1):
        if stride != filled:
            return x.clone()
        filled *= size
    return x


def aligned(gradient: Tensor, x: Tensor) -> Tensor:
    """`gradient` with the dtype and the memory order of the dense tensor `x`."""
    if gradient.stride() == x.stride() and gradient.dtype == x.dtype:
        return gradient
    return x.new_empty(0).set_(x.new_empty(x.numel()).untyped_storage(), 0, x.shape, x.stride()).copy_(gradient)


def blocks(x: Tensor, time_dim: int | None) -> tuple[int, int, int]:
    """(outer, steps, inner) of a dense tensor: number (o, t, i) lies at (o * steps + t) * inner + i.

    The inner block is everything that lies closer together than two time steps, whatever axes that is: time first, time
    second and channels_last need no copy. With `time_dim` None every number is a neuron of one step.
    """
    steps = 1 if time_dim is None else x.shape[time_dim]
    if steps == 1:
        return 1, 1, x.numel()
    inner = x.stride(time_dim)
    return math.prod(x.shape) // (steps * inner), steps, inner
