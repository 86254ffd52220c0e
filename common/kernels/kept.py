"""What autograd keeps of a forward pass for the backward pass, made small; the numbers stay the same bit for bit.

PyTorch keeps spikes as 32-bit numbers, and the place of each maximum as a 64-bit number beside the whole input.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from common.kernels.operators import traced
from common.kernels.recomputed import inputs_are_kept
from common.kernels.spikes import Spikes, binary, refusal


def spikes_as_bits() -> AbstractContextManager:
    """While open, autograd keeps float32 CPU tensors of zeros and ones as bits, and all others as they are.

    Nothing changes in a block that is computed again, which keeps none of them.
    """
    if not torch.is_grad_enabled() or traced() or refusal() or inputs_are_kept.get():
        return nullcontext()
    return saved_tensors_hooks(_pack, _unpack)


def _pack(x: Tensor) -> Tensor | tuple[Spikes, torch.Size, bool]:
    turned = x.ndim > 1 and not x.is_contiguous()  # the keys of an attention
    if turned:
        x = x.mT
    spikes = binary(x)
    if spikes is None:
        return x.mT if turned else x
    return spikes, x.shape, turned


def _unpack(kept: Tensor | tuple[Spikes, torch.Size, bool]) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    spikes, shape, turned = kept
    x = spikes.dense().view(shape)
    return x.mT if turned else x


class _MaxPool2d(torch.autograd.Function):
    """Keeps the places of the maxima in as few bits as they take, and of the input its shape."""

    @staticmethod
    def forward(ctx, x: Tensor, *geometry) -> Tensor:
        y, places = torch.ops.aten.max_pool2d_with_indices(x, *geometry)
        few = x.shape[-2] * x.shape[-1] <= torch.iinfo(torch.int16).max
        ctx.save_for_backward(places.to(torch.int16 if few else torch.int32))
        ctx.shape, ctx.geometry = x.shape, geometry
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        (places,) = ctx.saved_tensors
        x = gradient.new_empty(1).expand(ctx.shape)  # only its shape is read
        gx = torch.ops.aten.max_pool2d_with_indices_backward(gradient, x, *ctx.geometry, places.long())
        return gx, None, None, None, None, None


def max_pool2d(x: Tensor, kernel: int, stride: int, padding: int = 0) -> Tensor:
    """`F.max_pool2d` of `x` `[N, C, H, W]` with a square `kernel`; on the CPU, without gradients, an axis at a time."""
    if traced():
        return F.max_pool2d(x, kernel, stride, padding)
    if torch.is_grad_enabled() and x.requires_grad:
        return _MaxPool2d.apply(x, [kernel] * 2, [stride] * 2, [padding] * 2, [1, 1], False)
    if x.device.type == "cpu" and x.numel() and x.is_contiguous():
        return _maxima(_maxima(x, 2, kernel, stride, padding), 3, kernel, stride, padding)
    return F.max_pool2d(x, kernel, stride, padding)


def _maxima(x: Tensor, axis: int, kernel: int, stride: int, padding: int) -> Tensor:
    """Maxima along one axis, by one comparison of all windows for each place in them: PyTorch's look at one by one."""
    length = x.shape[axis]
    windows = (length + 2 * padding - kernel) // stride + 1
    shape = [*x.shape[:axis], windows, *x.shape[axis + 1 :]]
    y = x.new_full(shape, -torch.inf)
    for place in range(-padding, kernel - padding):
        first, last = -(min(place, 0) // stride), min(windows, (length - 1 - place) // stride + 1)
        if first < last:
            part = y.narrow(axis, first, last - first)
            start = first * stride + place
            there = x.narrow(axis, start, (last - first - 1) * stride + 1)
            torch.maximum(part, there[(slice(None),) * axis + (slice(None, None, stride),)], out=part)
    return y
