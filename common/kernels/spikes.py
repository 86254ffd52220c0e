"""What of an input is not zero, found once and kept as bits, and the kernels that work on it, of cpp/spikes.cpp."""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from common.compiled import extension_path, load_extension
from common.kernels import known, memory
from common.kernels.dispatch import convolution_wanted

LIBRARY = extension_path(__file__, "_spikes")
LIMITS = {
    "3x3": (0.50, 0.40),
    "pointwise": (0.35, 0.25),
    "other": (0.40, 0.30),
    "linear": (0.15, 0.10),
}
"""Densities up to which zeros are skipped: of spikes, and of inputs with other values; see docs/spike_driven.md."""
BFLOAT16_SHARE = 0.0 if torch.cpu._is_amx_tile_supported() else 0.5
"""Of those limits for bfloat16: dense, it is up to twice as fast as float32, with a matrix unit (AMX) eight times."""
DTYPES = (torch.float32, torch.bfloat16)
FEWEST_PRODUCTS = 1 << 24
"""Of the dense convolution: below, looking for zeros is not worth the calls."""
FEWEST_CHANNELS = 8
_SAMPLE = 4096
_FIRST = 256


@cache
def library(path: Path) -> ctypes.CDLL | str:
    """The loaded extension, or why there is none and what to do."""
    loaded = load_extension(path, "spike_runs_here")
    if isinstance(loaded, str):
        return loaded
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    loaded.spike_sample.argtypes = [pointer, number]
    for name, pointers in {
        "bits_size": 1,
        "packed_size": 1,
        "bits": 4,
        "floats": 3,
        "pack": 3,
        "forward": 7,
        "weight_gradient": 5,
    }.items():
        getattr(loaded, f"spike_{name}").argtypes = [pointer] * pointers
    loaded.input_gradient.argtypes = [pointer] * 4
    loaded.spike_count.argtypes = [pointer, number]
    loaded.spike_rows.argtypes = [pointer, pointer, number, number]
    loaded.spike_bits_size.restype = loaded.spike_packed_size.restype = loaded.spike_count.restype = number
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
        x = torch.empty(*self.shape[:4])
        library(LIBRARY).spike_floats(self.bits.data_ptr(), x.data_ptr(), ctypes.addressof(self.shape))
        return x


def compress(x: Tensor, weight: Tensor, stride: int, padding: int, kind: str | None = None) -> Spikes | None:
    """The places of `x` `[N, C, H, W]` that are not 0, or None where a dense convolution is faster or the only one."""
    (N, C, H, W), (outputs, _, KH, KW) = x.shape, weight.shape
    rows, columns = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    if rows < 1 or columns < 1 or not N or KH * KW > 64 or max(stride, 1) > 8:
        return None
    if few(x, weight, stride):
        return None
    if kind is None:
        kind = "3x3" if (KH, KW, stride, padding) == (3, 3, 1, 1) else "pointwise" if KH * KW * stride == 1 else "other"
    limit, valued_limit = limits(kind, x.dtype)
    if known.bits(x) is None and not promises(x, limit):
        return None
    spikes, found = look(x.float(), (N, C, H, W, outputs, KH, KW, stride, padding), kind)
    if found > (limit if spikes.values is None else valued_limit) * x.numel():
        return None
    return spikes


def few(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether a convolution or linear layer is too small to look for zeros."""
    inputs = weight.shape[1]
    small = inputs < FEWEST_CHANNELS or x.numel() * weight.numel() < FEWEST_PRODUCTS * inputs * stride * stride
    return small and convolution_wanted() != "spike"


def shape_of(*numbers: int) -> ctypes.Array:
    """Of a convolution, N, C, H, W, O, KH, KW, stride and padding, as the library takes it."""
    return (ctypes.c_int64 * 10)(*numbers, torch.get_num_threads())


def look(x: Tensor, shape: tuple[int, ...], kind: str) -> tuple[Spikes, int]:
    """The places of the contiguous float32 `x` that are not 0, for a convolution of this shape; how many they are."""
    loaded, width = library(LIBRARY), shape[3]
    shape = shape_of(*shape)
    pointer, bits = ctypes.addressof(shape), known.bits(x)
    if bits is None:
        bits, found = torch.empty(loaded.spike_bits_size(pointer), dtype=torch.uint8), (ctypes.c_int64 * 2)()
        loaded.spike_bits(x.data_ptr(), bits.data_ptr(), found, pointer)
        return Spikes(shape, bits, x if found[1] else None, kind), found[0]
    count = loaded.spike_count(bits.data_ptr(), x.numel() // 8)
    if width % 8:
        rows, bits = bits, torch.empty(loaded.spike_bits_size(pointer), dtype=torch.uint8)
        loaded.spike_rows(rows.data_ptr(), bits.data_ptr(), x.numel() // width, width)
    return Spikes(shape, bits, None, kind), count


def binary(x: Tensor) -> Spikes | None:
    """All of the contiguous float32 CPU tensor `x` as bits; None if it is another, is small or has other numbers."""
    if (
        type(x) is not Tensor
        or x.dtype != torch.float32
        or x.is_cuda
        or not x.is_contiguous()
        or x.nbytes < memory.SMALL
    ):
        return None
    first = x.view(-1)[:_FIRST]  # near each other: numbers from all over would each wait for the memory
    if not torch.equal(first * first, first):
        return None
    width = x.shape[-1]
    spikes, _ = look(x, (1, x.numel() // width, 1, width, *[1] * 5), "linear")
    return spikes if spikes.values is None else None


def limits(kind: str, dtype: torch.dtype) -> tuple[float, float]:
    """`LIMITS` of a kind of convolution in this dtype; none where zeros are to be skipped wherever possible."""
    if convolution_wanted() == "spike":
        return 1.0, 1.0
    share = BFLOAT16_SHARE if dtype == torch.bfloat16 else 1.0
    return LIMITS[kind][0] * share, LIMITS[kind][1] * share


def serves(dtype: torch.dtype) -> bool:
    """Whether zeros in inputs of this dtype are skipped here at any density."""
    return dtype in DTYPES and not refusal() and limits("3x3", dtype)[0] > 0


def promises(x: Tensor, limit: float) -> bool:
    """Whether so few of some numbers of the contiguous `x` are not 0 that it is worth looking at all of them."""
    if x.dtype == torch.bfloat16:
        x = x.view(-1)[:: max(1, x.numel() // _SAMPLE)].float()
    sampled = library(LIBRARY).spike_sample(x.data_ptr(), x.numel())
    return sampled <= 1.25 * limit * min(_SAMPLE, x.numel())


def pack(weight: Tensor, stride: int, padding: int) -> Tensor | None:
    """The weight as the kernels read it; None if a number in it is not finite, as 0 times that is no 0."""
    outputs, C, KH, KW = weight.shape
    shape = shape_of(1, C, KH, KW, outputs, KH, KW, stride, padding)
    loaded, pointer, weight = library(LIBRARY), ctypes.addressof(shape), weight.detach().float().contiguous()
    packed = torch.empty(loaded.spike_packed_size(pointer))
    return None if loaded.spike_pack(weight.data_ptr(), packed.data_ptr(), pointer) else packed


def forward(spikes: Spikes, weight: Tensor, packed: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """The convolution in float32, `[N, O, H', W']`; `packed` is what `pack` gave.

    None if a number in a weight that was not packed is not finite.
    """
    N, _, H, W, outputs, KH, KW, stride, padding, _ = spikes.shape
    bias = None if bias is None else bias.float()
    weight = None if packed is not None else weight.detach().float().contiguous()
    y = memory.output_pool().empty(
        N, outputs, (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    )
    failed = library(LIBRARY).spike_forward(
        spikes.bits.data_ptr(), _pointer(spikes.values), _pointer(packed), _pointer(weight), _pointer(bias),
        y.data_ptr(), ctypes.addressof(spikes.shape),
    )  # fmt: skip
    return None if failed else y


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
