"""Which implementation of a neuron runs: one table, asked per call, overridable by `use` or `SNN_BACKEND`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import Tensor

from common.errors import UserError
from common.kernels import reference
from common.kernels.parameters import IntegerParameters, LIFParameters


@dataclass(frozen=True)
class Backend:
    """An implementation of both neuron operations and the test whether it can serve a tensor."""

    name: str
    usable: Callable[[Tensor], bool]
    multi_step_lif: Callable[[Tensor, LIFParameters, int], Tensor]
    integer_if: Callable[[Tensor, IntegerParameters, int | None], Tensor]


TORCH = Backend(
    "torch",
    usable=lambda x: True,
    multi_step_lif=lambda x, p, time_dim: reference.multi_step_lif(x, p, time_dim)[0],
    integer_if=lambda x, p, time_dim: reference.integer_if(x, p, time_dim)[0],
)
BACKENDS = {backend.name: backend for backend in (TORCH,)}  # fastest first

_forced: ContextVar[str | None] = ContextVar("forced_backend", default=None)


@contextmanager
def use(name: str) -> Iterator[None]:
    """Force a backend by name ("auto" undoes an outer choice) within a `with` block."""
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def choose(x: Tensor) -> Backend:
    """The backend that serves `x`: the forced one, else the first of `BACKENDS` that is usable for it.

    Raises:
        UserError: the forced name is unknown, or that backend cannot serve `x`.
    """
    name = _forced.get() or os.environ.get("SNN_BACKEND", "auto")
    if name == "auto":
        return next(backend for backend in BACKENDS.values() if backend.usable(x))
    if name not in BACKENDS:
        raise UserError(f"unknown neuron backend {name!r} (SNN_BACKEND); choose one of auto, {', '.join(BACKENDS)}")
    backend = BACKENDS[name]
    if not backend.usable(x):
        raise UserError(f"neuron backend {name!r} cannot serve a {x.dtype} tensor on {x.device}; use SNN_BACKEND=auto")
    return backend


def multi_step_lif(x: Tensor, parameters: LIFParameters, time_dim: int = 0) -> Tensor:
    """Output of `T` steps of a LIF neuron, shape of `x`, e.g. `[T, B, C, H, W]` with `time_dim` 0."""
    return choose(x).multi_step_lif(x, parameters, time_dim)


def integer_if(x: Tensor, parameters: IntegerParameters, time_dim: int | None = None) -> Tensor:
    """Output of the integer neuron, shape of `x`; integrates along `time_dim`, or treats `x` as a single step."""
    return choose(x).integer_if(x, parameters, time_dim)
