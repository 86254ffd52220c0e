"""The CPU backend: calls the optional extension that `pip install` compiles from `cpp/`."""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from common.compiled import extension_path, load_extension
from common.kernels import known
from common.kernels.encoding import fires
from common.kernels.layout import aligned, blocks, dense
from common.kernels.memory import output_pool

LIBRARY = extension_path(__file__, "_neurons")
_STORAGE = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2, torch.float16: 3}  # `Storage` in neurons.cpp


@cache
def library(path: Path) -> ctypes.CDLL | str:
    """The loaded extension, or why there is none and what to do."""
    loaded = load_extension(path, "neuron_runs_here")
    if isinstance(loaded, str):
        return loaded
    pointer, size, number, values = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.POINTER(ctypes.c_double)
    shape = [size, size, size, number, number]
    loaded.neuron_forward.argtypes = [pointer] * 3 + [size] + shape + [number, values]
    loaded.neuron_backward.argtypes = [pointer] * 3 + shape + [number, number, values]
    loaded.neuron_forward.restype = loaded.neuron_backward.restype = None
    return loaded


def refusal(device_type: str, dtype: torch.dtype) -> str:
    """Why this backend cannot serve such tensors, empty if it can."""
    if device_type != "cpu":
        return f"serves CPU tensors, not {device_type}"
    if dtype not in _STORAGE:
        return f"has no kernel for {dtype}"
    loaded = library(LIBRARY)
    if isinstance(loaded, str):
        return loaded
    if dtype == torch.float16 and not loaded.neuron_has_float16():
        return "this processor has no float16 conversion instructions"
    return ""


def forward(x: Tensor, code: int, constants: list[float], time_dim: int | None, leave_bits: bool = False) -> Tensor:
    """Output of the neuron with forward code `code`, shape and memory order of `x`.

    With `leave_bits`, spikes leave their bits with it; not where compiled code may write other numbers in its memory.
    """
    x = x.resolve_neg()
    repeated = time_dim == 0 and x.numel() > 0 and x.stride(0) == 0 and x[0].is_contiguous()
    source = x[:1] if repeated else dense(x)
    y = output_pool().empty_like(x if repeated else source)
    if y.numel():
        shape = _shape(y, time_dim)
        places = known.room(y, shape[2]) if leave_bits and fires(code) else None
        library(LIBRARY).neuron_forward(
            source.data_ptr(), y.data_ptr(), None if places is None else places.data_ptr(),
            1 if repeated else shape[1], *shape, code, _doubles(constants),
        )  # fmt: skip
        if places is not None:
            known.keep(y, places)
    return y


def backward(
    gradient: Tensor,
    x: Tensor,
    codes: tuple[int, int],
    constants: list[float],
    time_dim: int | None,
    overwrite: bool = False,
) -> Tensor:
    """Gradient at the input `x` from the `gradient` at the output; `codes` are the forward and the backward code.

    With `overwrite` it takes the place of `x`, as it does of a copy: a neuron's inputs are all read before its first
    gradient is written.
    """
    given, x = x, dense(x.resolve_neg())
    gradient = aligned(gradient.resolve_neg(), x)
    gx = x if overwrite or x is not given else output_pool().empty_like(x)
    if x.numel():
        library(LIBRARY).neuron_backward(
            x.data_ptr(), gradient.data_ptr(), gx.data_ptr(), *_shape(x, time_dim), *codes, _doubles(constants)
        )
    return gx


def _shape(x: Tensor, time_dim: int | None) -> tuple[int, ...]:
    return *blocks(x, time_dim), _STORAGE[x.dtype], torch.get_num_threads()


def _doubles(constants: list[float]) -> ctypes.Array:
    return (ctypes.c_double * len(constants))(*constants)
