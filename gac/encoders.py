"""Codings to compare gated attention coding with (GAC, AAAI 2024): values `[...]` as spike trains `[T, ...]`.

Values are pixels in [0, 1], not normalised. The paper's own code has these encoders and no network that uses them; ours
takes one by name, see `gac.models.cifar`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from common.errors import UserError


def _pixels(x: Tensor) -> Tensor:
    """`x`, refused if it leaves [0, 1]."""
    low, high = x.aminmax()
    if low < 0 or high > 1:
        raise UserError(f"a spike coding takes pixels in [0, 1], got {low:g} to {high:g}; do not normalise the images")
    return x


def latency(x: Tensor, T: int, kind: Literal["linear", "log"] = "linear") -> Tensor:
    """One spike for each value, the earlier the larger it is; half-way times round to even.

    linear  t = round((T - 1) (1 - x))
    log     t = round(T - 1 - ln(alpha x + 1)),  alpha = exp(T - 1) - 1
    """
    times = {
        "linear": lambda: (T - 1) * (1 - x),
        "log": lambda: T - 1 - torch.log(math.expm1(T - 1) * x + 1),
    }
    if kind not in times:
        raise ValueError(f"latency coding must be one of {', '.join(times)}, got {kind!r}")
    _pixels(x)
    steps = torch.arange(T, device=x.device).view(-1, *[1] * x.ndim)
    return (steps == times[kind]().round()).to(x.dtype)


def poisson(x: Tensor, T: int) -> Tensor:
    """Rate coding: s_t = 1 where U_t <= x, with fresh uniform U_t at every step."""
    _pixels(x)
    return torch.stack([(torch.rand_like(x) <= x).to(x.dtype) for _ in range(T)])


def weighted_phase(x: Tensor, T: int) -> Tensor:
    """The first T binary digits of x, most significant first; x = 1 gives all ones, as 1 - 2^-T does."""
    rest, digits = _pixels(x), []
    for t in range(T):
        weight = 0.5 ** (t + 1)
        digits.append((rest >= weight).to(x.dtype))
        rest = rest - weight * digits[-1]
    return torch.stack(digits)


ENCODERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "latency": latency,
    "latency_log": partial(latency, kind="log"),
    "poisson": poisson,
    "phase": weighted_phase,
}
"""By name, called with (x, T)."""
