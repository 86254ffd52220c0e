"""Convolutions that skip zeros on the CPU, where that pays: see docs/spike_driven.md.

`conv2d` is `F.conv2d` and `linear` is `F.linear`. They look at a few numbers of the input; if most are 0 they find all
that are not, and then add up weights instead of multiplying, in float32, for inputs of float32 and bfloat16. What runs
depends on the input and on `LIMITS` alone, never on a clock, so that a run can be repeated. float64, other devices and
exported programs get PyTorch's dense convolution; `torch.compile` sees the operator `spiking_papers::conv2d`.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.compiled import extension_path, load_extension
from common.kernels.dispatch import convolution_wanted, wanted
from common.kernels.memory import output_pool

LIBRARY = extension_path(__file__, "_spikes")
LIMITS = {
    "3x3": (0.50, 0.40),
    "pointwise": (0.35, 0.25),
    "other": (0.30, 0.20),
    "linear": (0.15, 0.10),
}
"""Densities up to which zeros are skipped: of spikes, and of inputs with other values; see docs/spike_driven.md."""
BFLOAT16_SHARE = 0.5
"""Of those limits for bfloat16, whose dense convolutions are twice as fast where the processor has them."""
DTYPES = (torch.float32, torch.bfloat16)
FEWEST_PRODUCTS = 1 << 22
"""Of the dense convolution: below, looking for zeros is not worth the calls."""
FEWEST_CHANNELS = 8
_SAMPLE = 4096


@cache
def library(path: Path) -> ctypes.CDLL | str:
    """The loaded extension, or why there is none and what to do."""
    loaded = load_extension(path)
    if isinstance(loaded, str):
        return loaded
    if not loaded.spike_runs_here():
        return "the C++ extension was compiled for another processor; run `pip install -e .` again on this machine"
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    loaded.spike_sample.argtypes = [pointer, number]
    for name, pointers in {
        "bits_size": 1,
        "packed_size": 1,
        "bits": 4,
        "pack": 3,
        "forward": 6,
        "weight_gradient": 5,
    }.items():
        getattr(loaded, f"spike_{name}").argtypes = [pointer] * pointers
    loaded.spike_bits_size.restype = loaded.spike_packed_size.restype = number
    return loaded


def refusal() -> str:
    """Why zeros are never skipped here, empty if they can be."""
    if convolution_wanted() == "dense":
        return "switched off (SNN_CONV=dense)"
    loaded = library(LIBRARY)
    return loaded if isinstance(loaded, str) else ""


@dataclass(frozen=True)
class Spikes:
    """An input `[N, C, H, W]` of which the places that are not 0 are known."""

    shape: ctypes.Array
    """Of the convolution, as the library takes it."""
    bits: Tensor
    values: Tensor | None
    """The input, if it has other values than 0 and 1."""
    kind: str

    def dense(self) -> Tensor:
        """The input again."""
        if self.values is not None:
            return self.values
        N, C, H, W = self.shape[:4]
        bits = self.bits.view(N, C, H, -1, 1) >> torch.arange(8, dtype=torch.uint8) & 1
        return bits.flatten(3)[..., :W].float()


def compress(x: Tensor, weight: Tensor, stride: int, padding: int, kind: str | None = None) -> Spikes | None:
    """The places of `x` `[N, C, H, W]` that are not 0, or None where a dense convolution is faster or the only one."""
    (N, C, H, W), (outputs, _, KH, KW) = x.shape, weight.shape
    rows, columns = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    if rows < 1 or columns < 1 or not N or KH * KW > 64 or max(stride, 1) > 8:
        return None
    if convolution_wanted() != "spike" and (
        C < FEWEST_CHANNELS or N * outputs * rows * columns * C * KH * KW < FEWEST_PRODUCTS
    ):
        return None
    if kind is None:
        kind = "3x3" if (KH, KW, stride, padding) == (3, 3, 1, 1) else "pointwise" if KH * KW * stride == 1 else "other"
    limit, valued_limit = limits(kind, x.dtype)
    if not promises(x, limit):
        return None
    loaded, x = library(LIBRARY), x.float()
    shape = (ctypes.c_int64 * 10)(N, C, H, W, outputs, KH, KW, stride, padding, torch.get_num_threads())
    pointer = ctypes.addressof(shape)
    bits, found = torch.empty(loaded.spike_bits_size(pointer), dtype=torch.uint8), (ctypes.c_int64 * 2)()
    loaded.spike_bits(x.data_ptr(), bits.data_ptr(), found, pointer)
    valued = bool(found[1])
    if found[0] > (valued_limit if valued else limit) * x.numel():
        return None
    return Spikes(shape, bits, x if valued else None, kind)


def limits(kind: str, dtype: torch.dtype) -> tuple[float, float]:
    """`LIMITS` of a kind of convolution in this dtype; none where zeros are to be skipped wherever possible."""
    if convolution_wanted() == "spike":
        return 1.0, 1.0
    share = BFLOAT16_SHARE if dtype == torch.bfloat16 else 1.0
    return LIMITS[kind][0] * share, LIMITS[kind][1] * share


def promises(x: Tensor, limit: float) -> bool:
    """Whether so few of some numbers of the contiguous `x` are not 0 that it is worth looking at all of them."""
    if x.dtype == torch.bfloat16:
        x = x.view(-1)[:: max(1, x.numel() // _SAMPLE)].float()
    sampled = library(LIBRARY).spike_sample(x.data_ptr(), x.numel())
    return sampled <= 1.25 * limit * min(_SAMPLE, x.numel())


def pack(weight: Tensor, stride: int, padding: int) -> Tensor | None:
    """The weight as the kernels read it; None if a number in it is not finite, as 0 times that is no 0."""
    outputs, C, KH, KW = weight.shape
    shape = (ctypes.c_int64 * 10)(1, C, KH, KW, outputs, KH, KW, stride, padding, torch.get_num_threads())
    loaded, pointer, weight = library(LIBRARY), ctypes.addressof(shape), weight.detach().float().contiguous()
    packed = torch.empty(loaded.spike_packed_size(pointer))
    return None if loaded.spike_pack(weight.data_ptr(), packed.data_ptr(), pointer) else packed


def forward(spikes: Spikes, packed: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution in float32, `[N, O, H', W']`."""
    N, _, H, W, outputs, KH, KW, stride, padding, _ = spikes.shape
    bias = None if bias is None else bias.float()
    y = output_pool().empty(N, outputs, (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1)
    library(LIBRARY).spike_forward(
        spikes.bits.data_ptr(), _pointer(spikes.values), packed.data_ptr(), _pointer(bias), y.data_ptr(),
        ctypes.addressof(spikes.shape),
    )  # fmt: skip
    return y


def weight_gradient(spikes: Spikes, gradient: Tensor) -> Tensor | None:
    """The gradient at the weight `[O, C, KH, KW]`; None if a number in `gradient` is not finite."""
    _, C, _, _, outputs, KH, KW, *_ = spikes.shape
    result = torch.empty(outputs, C, KH, KW)
    failed = library(LIBRARY).spike_weight_gradient(
        spikes.bits.data_ptr(), _pointer(spikes.values), gradient.data_ptr(), result.data_ptr(),
        ctypes.addressof(spikes.shape),
    )  # fmt: skip
    return None if failed else result


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


class _SpikeConv(torch.autograd.Function):
    """Keeps the bits of a binary input, a 32nd of it; the gradient at the input is the dense one."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, spikes: Spikes, packed: Tensor) -> Tensor:
        ctx.save_for_backward(weight, spikes.bits, spikes.values)
        ctx.shape, ctx.kind = spikes.shape, spikes.kind
        return forward(spikes, packed, bias).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        weight, bits, values = ctx.saved_tensors
        spikes, gradient = Spikes(ctx.shape, bits, values, ctx.kind), gradient.contiguous()
        stride, padding = ctx.shape[7:9]
        gx = gw = gb = None
        if ctx.needs_input_grad[0]:
            x = gradient.new_empty(1).expand(*ctx.shape[:4])  # only its shape is read
            gx = _dense_gradient(gradient, x, weight, stride, padding, 0)
        if ctx.needs_input_grad[1]:
            gw = weight_gradient(spikes, gradient.float())
            if gw is None:
                gw = _dense_gradient(gradient, spikes.dense().to(gradient.dtype), weight, stride, padding, 1)
        if ctx.needs_input_grad[2]:
            gb = gradient.sum((0, 2, 3))
        return gx, None if gw is None else gw.to(weight.dtype), gb, None, None


def _dense_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, which: int) -> Tensor:
    """The gradient of the dense convolution at its input (0) or at its weight (1)."""
    mask = [which == 0, which == 1, False]
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, mask
    )[which]


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, packed: Tensor | None = None
) -> Tensor:
    """`F.conv2d` of `x` `[N, C, H, W]`, skipping zeros where that is faster; `packed` is what `pack` gave before."""
    if _traced():
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
    spikes = compress(x, weight, stride, padding, kind) if _served(x, weight) else None
    if spikes is not None and packed is None:
        packed = pack(weight, stride, padding)
    if spikes is None or packed is None:
        return F.conv2d(x, weight, bias, stride, padding)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)):
        return _SpikeConv.apply(x, weight, bias, spikes, packed)
    return forward(spikes, packed, bias).to(x.dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, packed: Tensor | None = None) -> Tensor:
    """`F.linear` of `x` `[..., C]`, as a convolution of the pixels that its rows are; `packed` as for `conv2d`."""
    if (
        _traced()
        or torch.is_autocast_enabled("cpu")
        or not _served(x, weight)
        or not x.numel()
        or not promises(x, limits("linear", x.dtype)[0])
    ):
        return F.linear(x, weight, bias)
    pixels = x.flatten(0, -2).t().contiguous()[None, :, None]
    y = _eager(pixels, weight[:, :, None, None], bias, 1, 0, packed, "linear")
    return y[0, :, 0].t().contiguous().view(*x.shape[:-1], -1)


def _served(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernels can compute this convolution at all."""
    return type(x) is Tensor and _on_cpu(x, weight) and x.is_contiguous() and not refusal()


def _traced() -> bool:
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _on_cpu(x: Tensor, weight: Tensor) -> bool:
    return x.dtype == weight.dtype and x.dtype in DTYPES and x.device.type == weight.device.type == "cpu"


def _compiled(x: Tensor, weight: Tensor) -> bool:
    """Whether a traced convolution becomes our operator: exported programs need none, and take any density."""
    exported = torch.compiler.is_exporting() or torch.jit.is_tracing()
    return not exported and _on_cpu(x, weight) and x.shape[1] >= FEWEST_CHANNELS and _wanted_compiled()


def _wanted_compiled() -> bool:
    return wanted() != "torch" and not refusal()


_wanted_compiled._dynamo_marked_constant = True


@torch.library.custom_op("spiking_papers::conv2d", mutates_args=(), device_types="cpu")
def _operator(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    return _eager(x.contiguous(), weight, bias, stride, padding, None).contiguous()


@torch.library.custom_op("spiking_papers::conv2d_weight_gradient", mutates_args=(), device_types="cpu")
def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    x, gradient = x.contiguous(), gradient.contiguous()
    spikes = compress(x, weight, stride, padding)
    found = None if spikes is None else weight_gradient(spikes, gradient.float())
    return _dense_gradient(gradient, x, weight, stride, padding, 1) if found is None else found.to(weight.dtype)


@_operator.register_fake
def _(x, weight, bias, stride, padding):
    (N, _, H, W), (outputs, _, KH, KW) = x.shape, weight.shape
    return x.new_empty(N, outputs, (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1)


@_weight_gradient.register_fake
def _(gradient, x, weight, stride, padding):
    return weight.new_empty(weight.shape)


def _save(ctx, inputs, output) -> None:
    x, weight, _, ctx.stride, ctx.padding = inputs
    ctx.save_for_backward(x, weight)


def _gradients(ctx, gradient: Tensor):
    (x, weight), geometry = ctx.saved_tensors, (ctx.stride, ctx.padding)
    gx, gw, gb = ctx.needs_input_grad[:3]
    return (
        _dense_gradient(gradient, x, weight, *geometry, 0) if gx else None,
        _weight_gradient(gradient, x, weight, *geometry) if gw else None,
        gradient.sum((0, 2, 3)) if gb else None,
        None,
        None,
    )


_operator.register_autograd(_gradients, setup_context=_save)
_operator.register_autocast("cpu", torch.bfloat16)
