"""Convolutions that skip zeros on the CPU, where that pays: see docs/spike_driven.md.

`conv2d` is `F.conv2d`. It looks at a few numbers of the input; if most are 0 it finds all that are not, and then adds
up weights instead of multiplying. What runs depends on the input and on `LIMITS` alone, never on a clock, so that a run
can be repeated. float64, other devices and dtypes, autocast and traced graphs get PyTorch's dense convolution.
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
from common.kernels.dispatch import convolution_wanted
from common.kernels.memory import output_pool

LIBRARY = extension_path(__file__, "_spikes")
LIMITS = {
    "3x3": (0.50, 0.40),
    "pointwise": (0.35, 0.25),
    "other": (0.30, 0.20),
}
"""Densities up to which zeros are skipped: of spikes, and of inputs with other values; see docs/spike_driven.md."""
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


def compress(x: Tensor, weight: Tensor, stride: int, padding: int) -> Spikes | None:
    """The places of `x` `[N, C, H, W]` that are not 0, or None where a dense convolution is faster or the only one."""
    (N, C, H, W), (outputs, _, KH, KW) = x.shape, weight.shape
    rows, columns = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    forced = convolution_wanted() == "spike"
    if rows < 1 or columns < 1 or not N or KH * KW > 64 or max(stride, 1) > 8:
        return None
    if not forced and (C < FEWEST_CHANNELS or N * outputs * rows * columns * C * KH * KW < FEWEST_PRODUCTS):
        return None
    kind = "3x3" if (KH, KW, stride, padding) == (3, 3, 1, 1) else "pointwise" if KH * KW * stride == 1 else "other"
    limit, valued_limit = (1.0, 1.0) if forced else LIMITS[kind]
    loaded = library(LIBRARY)
    if loaded.spike_sample(x.data_ptr(), x.numel()) > 1.25 * limit * min(_SAMPLE, x.numel()):
        return None
    shape = (ctypes.c_int64 * 10)(N, C, H, W, outputs, KH, KW, stride, padding, torch.get_num_threads())
    pointer = ctypes.addressof(shape)
    bits, found = torch.empty(loaded.spike_bits_size(pointer), dtype=torch.uint8), (ctypes.c_int64 * 2)()
    loaded.spike_bits(x.data_ptr(), bits.data_ptr(), found, pointer)
    valued = bool(found[1])
    if found[0] > (valued_limit if valued else limit) * x.numel():
        return None
    return Spikes(shape, bits, x if valued else None, kind)


def pack(weight: Tensor, stride: int, padding: int) -> Tensor | None:
    """The weight as the kernels read it; None if a number in it is not finite, as 0 times that is no 0."""
    outputs, C, KH, KW = weight.shape
    shape = (ctypes.c_int64 * 10)(1, C, KH, KW, outputs, KH, KW, stride, padding, torch.get_num_threads())
    loaded, pointer, weight = library(LIBRARY), ctypes.addressof(shape), weight.detach().contiguous()
    packed = torch.empty(loaded.spike_packed_size(pointer))
    return None if loaded.spike_pack(weight.data_ptr(), packed.data_ptr(), pointer) else packed


def forward(spikes: Spikes, packed: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution, `[N, O, H', W']`."""
    N, _, H, W, outputs, KH, KW, stride, padding, _ = spikes.shape
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
        return forward(spikes, packed, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        weight, bits, values = ctx.saved_tensors
        spikes, gradient = Spikes(ctx.shape, bits, values, ctx.kind), gradient.contiguous()
        gx = gw = gb = None
        if ctx.needs_input_grad[0]:
            gx = _dense_gradient(gradient, gradient.new_empty(1).expand(*ctx.shape[:4]), weight, ctx.shape, 0)
        if ctx.needs_input_grad[1]:
            gw = weight_gradient(spikes, gradient)
            if gw is None:
                gw = _dense_gradient(gradient, spikes.dense(), weight, ctx.shape, 1)
        if ctx.needs_input_grad[2]:
            gb = gradient.sum((0, 2, 3))
        return gx, gw, gb, None, None


def _dense_gradient(gradient: Tensor, x: Tensor, weight: Tensor, shape: ctypes.Array, which: int) -> Tensor:
    """The gradient of the dense convolution at its input (0) or at its weight (1)."""
    stride, padding = [shape[7]] * 2, [shape[8]] * 2
    mask = [which == 0, which == 1, False]
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, mask
    )[which]


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, packed: Tensor | None = None
) -> Tensor:
    """`F.conv2d` of `x` `[N, C, H, W]`, skipping zeros where that is faster; `packed` is what `pack` gave before."""
    spikes = compress(x, weight, stride, padding) if _served(x, weight, bias) else None
    if spikes is not None and packed is None:
        packed = pack(weight, stride, padding)
    if spikes is None or packed is None:
        return F.conv2d(x, weight, bias, stride, padding)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)):
        return _SpikeConv.apply(x, weight, bias, spikes, packed)
    return forward(spikes, packed, bias)


def _served(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernels can compute this convolution at all."""
    return (
        type(x) is Tensor
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and x.is_contiguous()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.is_autocast_enabled("cpu")
        and not refusal()
    )
