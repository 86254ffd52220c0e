"""Which implementation of a neuron runs: one table, asked per call, overridable by `use` or `SNN_BACKEND`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from common.errors import UserError
from common.kernels import cpu, cuda, operators, reference
from common.kernels.encoding import encode_integer, encode_lif
from common.kernels.parameters import IntegerParameters, LIFParameters

REFUSALS: dict[str, Callable[[str, torch.dtype], str]] = {
    "cuda": cuda.refusal,
    "cpu": cpu.refusal,
    "torch": lambda device_type, dtype: "",
}
"""Backends, fastest first, each with the reason why it cannot serve a device type and dtype (empty: it can)."""

_forced: ContextVar[str | None] = ContextVar("forced_backend", default=None)


@contextmanager
def use(name: str) -> Iterator[None]:
    """Force a backend by name ("auto" undoes an outer choice) within a `with` block.

    A compiled or exported graph keeps the backend that was chosen when it was traced.
    """
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def wanted() -> str:
    """The backend that `use` or SNN_BACKEND asks for, "auto" where none does.

    Raises:
        UserError: there is no such backend.
    """
    name = _forced.get() or os.environ.get("SNN_BACKEND", "auto")
    if name != "auto" and name not in REFUSALS:
        raise UserError(f"unknown neuron backend {name!r} (SNN_BACKEND); choose one of auto, {', '.join(REFUSALS)}")
    return name


CONVOLUTIONS = ("auto", "dense", "spike")
_forced_convolution: ContextVar[str | None] = ContextVar("forced_convolution", default=None)


@contextmanager
def use_convolution(name: str) -> Iterator[None]:
    """Within a `with` block convolve "dense", or skip zeros wherever possible ("spike") or where it pays ("auto")."""
    token = _forced_convolution.set(name)
    try:
        yield
    finally:
        _forced_convolution.reset(token)


def convolution_wanted() -> str:
    """What `use_convolution` or SNN_CONV asks for, "auto" where none does.

    Raises:
        UserError: there is no such kind.
    """
    name = _forced_convolution.get() or os.environ.get("SNN_CONV", "auto")
    if name not in CONVOLUTIONS:
        raise UserError(f"unknown kind of convolution {name!r} (SNN_CONV); choose one of {', '.join(CONVOLUTIONS)}")
    return name


def choose(device_type: str, dtype: torch.dtype) -> str:
    """Name of the backend for such tensors: the wanted one, else the first of `REFUSALS` that does not refuse.

    Raises:
        UserError: the wanted backend is unknown or cannot serve such tensors.
    """
    name = wanted()
    if name == "auto":
        return next(backend for backend, refusal in REFUSALS.items() if not refusal(device_type, dtype))
    reason = REFUSALS[name](device_type, dtype)
    if reason:
        raise UserError(f"neuron backend {name!r} cannot serve {dtype} on {device_type}: {reason}; or SNN_BACKEND=auto")
    return name


# What `torch.compiler.assume_constant_result` does, which would import the whole compiler: a second for every program.
choose._dynamo_marked_constant = True


def multi_step_lif(x: Tensor, parameters: LIFParameters, time_dim: int = 0) -> Tensor:
    """Output of `T` steps of a LIF neuron, shape of `x`, e.g. `[T, B, C, H, W]` with `time_dim` 0."""
    if choose(x.device.type, x.dtype) == "torch":
        return reference.multi_step_lif(x, parameters, time_dim)[0]
    return operators.run_neuron(x, *encode_lif(parameters), time_dim)


def integer_if(x: Tensor, parameters: IntegerParameters, time_dim: int | None = None) -> Tensor:
    """Output of the integer neuron, shape of `x`; integrates along `time_dim`, or treats `x` as a single step."""
    if choose(x.device.type, x.dtype) == "torch":
        return reference.integer_if(x, parameters, time_dim)[0]
    return operators.run_neuron(x, *encode_integer(parameters), time_dim)
