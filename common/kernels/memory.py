"""Memory of large outputs: a page touched for the first time costs more than the neuron that is computed in it."""

import ctypes
import math
import mmap
import os
import weakref
from contextlib import suppress
from functools import cache

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError

SMALL = 1 << 20
"""Bytes of a tensor from which keeping less of it for a backward pass is worth the calls."""
_LARGE = 4 << 20  # bytes from which an output is worth a mapping of its own
_HUGE_PAGE = 2 << 20
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of mallopt(3)


class OutputPool:
    """Memory for large tensors, in huge pages, that is kept for the next one when torch frees a tensor.

    At most `limit` bytes lie idle, and those are marked as free for the system to take back under pressure (MADV_FREE).
    A tensor can die in any thread, in the middle of any allocation: hence no lock, only single operations on the list.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.idle: list[mmap.mmap] = []  # oldest first

    def empty_like(self, x: Tensor) -> Tensor:
        """An uninitialised tensor with the shape, dtype and memory order of the dense tensor `x`."""
        if not self._serves(x.nbytes):
            return torch.empty_like(x)
        strides = torch.empty_like(x, device="meta").stride()
        return self._bytes(x.nbytes).view(x.dtype).as_strided(x.shape, strides)

    def empty(self, *shape: int) -> Tensor:
        """An uninitialised contiguous float32 tensor."""
        count = 4 * math.prod(shape)
        return self._bytes(count).view(torch.float32).view(shape) if self._serves(count) else torch.empty(shape)

    def _serves(self, count: int) -> bool:
        return count >= _LARGE and hasattr(mmap, "MAP_PRIVATE")

    def _bytes(self, count: int) -> Tensor:
        memory = self._take(-(-count // _HUGE_PAGE) * _HUGE_PAGE)
        numbers = np.frombuffer(memory, dtype=np.uint8, count=count)
        weakref.finalize(numbers, self._give_back, memory).atexit = False
        return torch.from_numpy(numbers)

    def _take(self, size: int) -> mmap.mmap:
        for memory in reversed(self.idle.copy()):
            if len(memory) == size:
                with suppress(ValueError):  # another thread took it
                    self.idle.remove(memory)
                    return memory
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        _advise(memory, "MADV_HUGEPAGE")
        return memory

    def _give_back(self, memory: mmap.mmap) -> None:
        _advise(memory, "MADV_FREE")
        self.idle.append(memory)
        while sum(map(len, self.idle)) > self.limit:
            with suppress(IndexError):
                self.idle.pop(0)


def _advise(memory: mmap.mmap, advice: str) -> None:
    """Tell the system about `memory`, where the system knows such advice."""
    if hasattr(mmap, advice):
        memory.madvise(getattr(mmap, advice))


@cache
def output_pool() -> OutputPool:
    """The pool of this process; a quarter of the machine's memory may lie idle in it."""
    return OutputPool(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)


def retain_memory() -> None:
    """Make the C allocator of this whole process keep freed memory instead of returning it to the system.

    Convolutions and every other operation then reuse pages, at the price of a process that never shrinks. It cannot be
    undone, hence is never done by itself. Call it first thing in a program.

    Raises:
        UserError: the C library is not glibc.
    """
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1))
    if not hasattr(libc, "mallopt") or not all(libc.mallopt(*setting) for setting in settings):
        raise UserError("cannot retain memory: the C library has no mallopt of glibc; run on Linux with glibc")
