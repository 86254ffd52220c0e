"""Where the spikes of a neuron are, as bits that it leaves with its output for the convolutions that read it."""

import torch
from torch import Tensor

CHUNK = 64
"""Numbers of a step that a neuron writes together."""
FEWEST = 1 << 14
"""Numbers from which that is worth the calls."""


def room(y: Tensor, inner: int) -> Tensor | None:
    """Memory for the bits of the spikes `y`, inner blocks of `inner` numbers; None where none are kept."""
    if y.dtype != torch.float32 or y.numel() < FEWEST or inner % CHUNK or not y.is_contiguous() or y.is_inference():
        return None
    return torch.empty(y.numel() // 8 + 7, dtype=torch.uint8)  # the kernels of convolutions read 8 bytes at a time


def keep(y: Tensor, bits: Tensor) -> None:
    """Leave the `bits` of `y` with its memory; they hold until that changes."""
    _owner(y)._bits = bits, (y._version, y.data_ptr(), y.numel(), y.dtype)


def bits(x: Tensor) -> Tensor | None:
    """Bits of `x`, in its order, if it is what a neuron wrote or another contiguous view of all of that."""
    found, facts = getattr(_owner(x), "_bits", (None, None))
    if found is None or facts != (x._version, x.data_ptr(), x.numel(), x.dtype) or not x.is_contiguous():
        return None
    return found


def _owner(x: Tensor) -> Tensor:
    return x if x._base is None else x._base
