"""The neurons in plain PyTorch: the specification that every faster backend must reproduce bit for bit."""

import torch
from torch import Tensor

from common.kernels.parameters import IntegerParameters, LIFParameters


class _Spike(torch.autograd.Function):
    """Heaviside step of z forward, surrogate gradient backward."""

    @staticmethod
    def forward(ctx, z: Tensor, parameters: LIFParameters) -> Tensor:
        ctx.save_for_backward(z)
        ctx.surrogate = parameters.surrogate
        return (z > 0 if parameters.strict else z >= 0).to(z.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (z,) = ctx.saved_tensors
        return grad * ctx.surrogate.gradient(z), None


class _Round(torch.autograd.Function):
    """round(clamp(v, 0, max_value)) forward, straight-through inside the clamp window backward."""

    @staticmethod
    def forward(ctx, v: Tensor, parameters: IntegerParameters) -> Tensor:
        ctx.save_for_backward(v)
        ctx.parameters = parameters
        clamped = v.clamp(0, parameters.max_value)
        return clamped.round() if parameters.rounding == "half_even" else (clamped + 0.5).floor()

    @staticmethod
    def backward(ctx, grad: Tensor):
        (v,) = ctx.saved_tensors
        top = ctx.parameters.max_value
        inside = (v > 0) & (v < top) if ctx.parameters.open_window else (v >= 0) & (v <= top)
        return grad * inside, None


def _accumulation(x: Tensor) -> Tensor:
    """`x` in the precision that the membrane is kept in: float32 for half and bfloat16, else its own."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _charge(v: Tensor | None, x: Tensor, p: LIFParameters) -> Tensor:
    if p.charge == "leaky":
        v = torch.zeros_like(x) if v is None else v
        return v + (x - v) / p.tau
    if v is None:
        return x
    return (p.decay * v + p.beta if p.beta else p.decay * v) + x


def _reset(h: Tensor, s: Tensor, p: LIFParameters) -> Tensor:
    s = s.detach() if p.detach_reset else s
    if p.reset == "soft":
        return h - s * p.threshold
    kept = (1 - s) * h
    return kept + s * p.threshold if p.reset == "threshold" else kept


def multi_step_lif(x: Tensor, p: LIFParameters, time_dim: int = 0) -> tuple[Tensor, Tensor]:
    """Output and membrane potential after the reset, both of the shape of `x`, e.g. `[T, B, ...]` with `time_dim` 0."""
    v, outputs, membrane = None, [], []
    for current in _accumulation(x).unbind(time_dim):
        h = _charge(v, current, p)
        s = _Spike.apply(h - p.threshold, p)
        v = _reset(h, s, p)
        graded = h - p.threshold if p.relative else h
        outputs.append({"spike": s, "relu": graded.relu(), "linear": graded}[p.output])
        membrane.append(v)
    return torch.stack(outputs, time_dim).to(x.dtype), torch.stack(membrane, time_dim)


def integer_if(x: Tensor, p: IntegerParameters, time_dim: int | None = None) -> tuple[Tensor, Tensor]:
    """Output and membrane potential after the reset; with `time_dim` None every element is a neuron of one step."""
    if time_dim is None:
        drive = _accumulation(x)
        n = _Round.apply(drive, p)
        return (n / p.norm).to(x.dtype), drive - n
    v, outputs, membrane = None, [], []
    for current in _accumulation(x).unbind(time_dim):
        v = current if v is None else v + current
        n = _Round.apply(v, p)
        v = v - n
        outputs.append(n / p.norm)
        membrane.append(v)
    return torch.stack(outputs, time_dim).to(x.dtype), torch.stack(membrane, time_dim)
