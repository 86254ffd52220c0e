"""Convolutions that skip zeros on the CPU, where that pays: see docs/spike_driven.md.

`conv2d` is `F.conv2d` and `linear` is `F.linear`. They look at a few numbers of the input; if most are 0 they find all
that are not, and then add up weights instead of multiplying, in float32, for inputs of float32 and bfloat16. What runs
depends on the input and on `LIMITS` alone, never on a clock, so that a run can be repeated. float64, other devices and
exported programs get PyTorch's dense convolution; `torch.compile` sees the operator `spiking_papers::conv2d`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.kernels.dispatch import wanted
from common.kernels.input_gradient import AT_WEIGHT, dense_gradient, input_gradient, slices
from common.kernels.operators import traced
from common.kernels.spikes import (
    FEWEST_CHANNELS,
    Spikes,
    binary,
    compress,
    few,
    forward,
    limits,
    promises,
    serves,
    weight_gradient,
)


class _SpikeConv(torch.autograd.Function):
    """Keeps the bits of a binary input, a 32nd of it, and computes densely what does not `skip` zeros."""

    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        spikes: Spikes,
        packed: Tensor | None,
        stride: int,
        padding: int,
        skips: bool,
    ) -> Tensor:
        ctx.save_for_backward(weight, spikes.bits, spikes.values)
        y = forward(spikes, weight, packed, bias) if skips else None
        ctx.shape, ctx.kind, ctx.skips = spikes.shape, spikes.kind, y is not None
        ctx.input, ctx.geometry = x.shape, (stride, padding)
        return F.conv2d(x, weight, bias, stride, padding) if y is None else y.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        weight, bits, values = ctx.saved_tensors
        spikes, gradient = Spikes(ctx.shape, bits, values, ctx.kind), gradient.contiguous()
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        gx = input_gradient(gradient, ctx.input, weight, *ctx.geometry) if wants_x else None
        gw = weight_gradient(spikes, gradient.float()) if wants_weight and ctx.skips else None
        if wants_weight and gw is None:
            gw = _dense_weight_gradient(gradient, spikes.dense().view(ctx.input), weight, *ctx.geometry)
        gb = gradient.sum((0, 2, 3)) if wants_bias else None
        return gx, None if gw is None else gw.to(weight.dtype), gb, None, None, None, None, None


def _dense_weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """That of PyTorch's convolution, of a few images at a time."""
    x, total = x.to(gradient.dtype), None
    for part in slices(x):
        found = dense_gradient(AT_WEIGHT, gradient[part], x[part], weight, stride, padding)
        total = found if total is None else total.add_(found)
    return total


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, packed: Tensor | None = None
) -> Tensor:
    """`F.conv2d` of `x` `[N, C, H, W]`, skipping zeros where that is faster; `packed` is what `pack` gave before."""
    if traced():
        convolution = _operator if _compiled(x, weight) else F.conv2d
        return convolution(x, weight, bias, stride, padding)
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16:
        tensors = [tensor if tensor is None else tensor.to(torch.bfloat16) for tensor in (x, weight, bias)]
        with torch.autocast("cpu", enabled=False):
            return conv2d(*tensors, stride, padding, packed)
    return _eager(x, weight, bias, stride, padding, packed)


def _eager(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    packed: Tensor | None,
    kind: str | None = None,
) -> Tensor:
    if not x.is_contiguous() and _served(x, weight) and _in_planes(weight):
        x = x.contiguous()  # once: as pictures often are, and what a convolution makes of NHWC is NHWC too
    if few(x, weight, stride):
        return F.conv2d(x, weight, bias, stride, padding)
    served = x.is_contiguous() and _served(x, weight)
    spikes = compress(x, weight, stride, padding, kind) if served else None
    skips = spikes is not None
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)):
        if served and not skips:
            spikes = binary(x)
        if spikes is not None:
            return _SpikeConv.apply(x, weight, bias, spikes, packed, stride, padding, skips)
    y = forward(spikes, weight, packed, bias) if skips else None
    return F.conv2d(x, weight, bias, stride, padding) if y is None else y.to(x.dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, packed: Tensor | None = None) -> Tensor:
    """`F.linear` of `x` `[..., C]`, as a convolution of the pixels that its rows are; `packed` as for `conv2d`."""
    if (
        traced()
        or torch.is_autocast_enabled("cpu")
        or few(x, weight, 1)
        or not _served(x, weight)
        or not x.is_contiguous()
        or not x.numel()
        or not promises(x, limits("linear", x.dtype)[0])
    ):
        return F.linear(x, weight, bias)
    pixels = x.flatten(0, -2).t().contiguous()[None, :, None]
    y = _eager(pixels, weight[:, :, None, None], bias, 1, 0, packed, "linear")
    return y[0, :, 0].t().contiguous().view(*x.shape[:-1], -1)


def _served(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels compute such convolutions at all, once their input is contiguous."""
    return type(x) is Tensor and _on_cpu(x, weight) and serves(x.dtype)


def _in_planes(weight: Tensor) -> bool:
    """Whether a weight is in the layout of NCHW and of no other, so that nobody asked for NHWC."""
    return weight.is_contiguous() and not weight.is_contiguous(memory_format=torch.channels_last)


def _on_cpu(x: Tensor, weight: Tensor) -> bool:
    return x.dtype == weight.dtype and x.device.type == weight.device.type == "cpu"


def _compiled(x: Tensor, weight: Tensor) -> bool:
    """Whether a traced convolution becomes our operator: exported programs need none, and take any density."""
    exported = torch.compiler.is_exporting() or torch.jit.is_tracing()
    return not exported and _on_cpu(x, weight) and x.shape[1] >= FEWEST_CHANNELS and _wanted_compiled(x.dtype)


def _wanted_compiled(dtype: torch.dtype) -> bool:
    return wanted() != "torch" and serves(dtype)


_wanted_compiled._dynamo_marked_constant = True


@torch.library.custom_op("spiking_papers::conv2d", mutates_args=(), device_types="cpu")
def _operator(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    return _eager(x.contiguous(), weight, bias, stride, padding, None).contiguous()


@torch.library.custom_op("spiking_papers::conv2d_weight_gradient", mutates_args=(), device_types="cpu")
def _operator_weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    x, gradient = x.contiguous(), gradient.contiguous()
    spikes = compress(x, weight, stride, padding)
    found = None if spikes is None else weight_gradient(spikes, gradient.float())
    if found is None:
        return _dense_weight_gradient(gradient, x, weight, stride, padding)
    return found.to(weight.dtype)


@torch.library.custom_op("spiking_papers::conv2d_input_gradient", mutates_args=(), device_types="cpu")
def _operator_input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return input_gradient(gradient.contiguous(), x.shape, weight, stride, padding).contiguous()


@_operator.register_fake
def _(x, weight, bias, stride, padding):
    (N, _, H, W), (outputs, _, KH, KW) = x.shape, weight.shape
    return x.new_empty(N, outputs, (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1)


@_operator_weight_gradient.register_fake
def _(gradient, x, weight, stride, padding):
    return weight.new_empty(weight.shape)


@_operator_input_gradient.register_fake
def _(gradient, x, weight, stride, padding):
    return x.new_empty(x.shape)


def _save(ctx, inputs, output) -> None:
    x, weight, _, ctx.stride, ctx.padding = inputs
    ctx.save_for_backward(x, weight)


def _gradients(ctx, gradient: Tensor):
    (x, weight), geometry = ctx.saved_tensors, (ctx.stride, ctx.padding)
    gx, gw, gb = ctx.needs_input_grad[:3]
    return (
        _operator_input_gradient(gradient, x, weight, *geometry) if gx else None,
        _operator_weight_gradient(gradient, x, weight, *geometry) if gw else None,
        gradient.sum((0, 2, 3)) if gb else None,
        None,
        None,
    )


_operator.register_autograd(_gradients, setup_context=_save)
_operator.register_autocast("cpu", torch.bfloat16)
