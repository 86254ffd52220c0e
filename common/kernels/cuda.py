"""The CUDA backend: `cuda/neurons.cu`, compiled at run time and launched on torch's current stream through CuPy.

Its kernels are compiled for sm_80 and sm_90 and emulated on the CPU by the tests; no GPU has run them yet.
"""

import importlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.kernels.encoding import CONSTANTS
from common.kernels.layout import aligned, blocks, dense

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "cuda" / "neurons.cu"
OPTIONS = ("-std=c++17", "--fmad=false", f"-I{FOLDER / 'cpp'}")  # fused multiply-add would change spikes
STORAGE = {torch.float32: "float", torch.bfloat16: "BFloat16", torch.float16: "Float16"}
_THREADS = 256  # of a block
_REGISTERS = 64  # membranes that a thread may hold before it takes one column at a time


def refusal(device_type: str, dtype: torch.dtype) -> str:
    """Why this backend cannot serve such tensors, empty if it can."""
    if device_type != "cuda":
        return f"serves CUDA tensors, not {device_type}"
    if dtype not in STORAGE:
        return f"has no kernel for {dtype}"
    return missing()


@cache
def missing() -> str:
    """What keeps CuPy from launching kernels on this machine, empty if nothing. Importing CuPy alone proves nothing."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        version = (torch.version.cuda or "13").split(".")[0]
        return f'CuPy cannot be imported ({error}); run `pip install -e ".[cuda{version}]"`'
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:
        return f"CuPy finds no usable CUDA device ({error})"
    return "" if devices else "CuPy finds no CUDA device"


def forward(x: Tensor, code: int, constants: list[float], time_dim: int | None) -> Tensor:
    """Output of the neuron with forward code `code`, shape and memory order of `x`."""
    x = dense(x)
    y = torch.empty_like(x)
    _launch("neuron_forward", (code,), (x, y), constants, time_dim)
    return y


def backward(
    gradient: Tensor, x: Tensor, codes: tuple[int, int], constants: list[float], time_dim: int | None
) -> Tensor:
    """Gradient at the input `x` from the `gradient` at the output; `codes` are the forward and the backward code."""
    x = dense(x)
    gx = torch.empty_like(x)
    _launch("neuron_backward", codes, (x, aligned(gradient, x), gx), constants, time_dim)
    return gx


def expression(kernel: str, dtype: torch.dtype, codes: tuple[int, ...], steps: int, vector: int) -> str:
    """The template instance of a kernel, as NVRTC names it."""
    return f"{kernel}<{STORAGE[dtype]}, {', '.join(map(str, codes))}, {steps}, {vector}>"


def columns_per_thread(tensors: tuple[Tensor, ...], steps: int, inner: int) -> int:
    """How many neighbouring columns one thread loads at once: 16 bytes where alignment and registers allow, else 1."""
    vector = 16 // tensors[0].element_size()
    whole = inner % vector == 0 and all(t.data_ptr() % 16 == 0 for t in tensors)
    return vector if whole and steps * vector <= _REGISTERS else 1


def in_single_precision(constants: list[float]) -> np.ndarray:
    """Constants as a kernel reads them; where a tie fires, the bound is the float32 just below the threshold."""
    values = np.array(constants, dtype=np.float32)
    threshold, bound = CONSTANTS.index("threshold"), CONSTANTS.index("bound")
    if constants[bound] < constants[threshold]:
        values[bound] = np.nextafter(values[threshold], np.float32(-np.inf))
    return values


def _launch(
    name: str, codes: tuple[int, ...], tensors: tuple[Tensor, ...], constants: list[float], time_dim: int | None
) -> None:
    """Run one kernel over all columns of `tensors`, which share the shape and memory order of the first."""
    x = tensors[0]
    if not x.numel():
        return
    outer, steps, inner = blocks(x, time_dim)
    vector = columns_per_thread(tensors, steps, inner)
    cupy = importlib.import_module("cupy")
    stream = torch.cuda.current_stream(x.device)
    with cupy.cuda.Device(x.device.index), cupy.cuda.ExternalStream(stream.cuda_stream, x.device.index):
        kernel = _compiled(expression(name, x.dtype, codes, steps, vector), x.device.index)
        numbers = _on_device(tuple(constants), x.device)
        grid = -(-outer * inner // (vector * _THREADS))
        kernel((grid,), (_THREADS,), (*(t.data_ptr() for t in tensors), outer, inner, numbers.data_ptr()))


@cache
def _compiled(name: str, device_index: int):
    """The kernel of one template instance, for the device that is current."""
    cupy = importlib.import_module("cupy")
    return cupy.RawModule(code=SOURCE.read_text(), options=OPTIONS, name_expressions=[name]).get_function(name)


@cache
def _on_device(constants: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.from_numpy(in_single_precision(list(constants))).to(device)
