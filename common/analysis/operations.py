"""Counting the operations of a network: what each layer costs, and what is left of it when its input is spikes.

A multiply-accumulate (MAC) whose input is 0 or 1 is an addition (AC), made only where there is a 1. Hence, for one
batch, a layer of `operations` products adds `operations * rate` to its ACs if its input is spikes, `rate` their mean,
and `operations` to its MACs if not. This is the counting of Spikingformer (arXiv 2304.11954).

| kind      | operations                                      | rate of        |
|-----------|-------------------------------------------------|----------------|
| conv      | outputs * (inputs under the kernel + bias)      | input          |
| linear    | outputs * (inputs + bias)                       | input          |
| attention | both matrix products, in the order that is run  | q, k, v        |
| norm      | 2 * numbers                                     | input          |
| pool      | numbers                                         | input          |
| neuron    | numbers, all of them ACs                        | output         |

Counted is what modules compute: a stem that is computed once for T equal steps counts once, and operations between
modules, such as residual sums, are not seen.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from common.layers import SpikingAttention, keys_meet_values_first
from common.neurons import NEURONS, IntegerLIF

POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


def weighted(layer: nn.Module, x: Tensor, output: Tensor) -> int:
    """Products and bias additions of a convolution or a linear layer; a transposed one multiplies each input."""
    if isinstance(layer, nn.ConvTranspose2d):
        return x.numel() * layer.weight[0].numel() + output.numel() * (layer.bias is not None)
    return output.numel() * (layer.weight[0].numel() + (layer.bias is not None))


KINDS: dict[str, tuple[tuple[type[nn.Module], ...], Callable[[nn.Module, Tensor, Tensor], int]]] = {
    "neuron": (NEURONS, lambda layer, x, output: output.numel()),
    "conv": ((nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d), weighted),
    "linear": ((nn.Linear,), weighted),
    "norm": ((nn.modules.batchnorm._BatchNorm, nn.LayerNorm), lambda layer, x, output: 2 * x.numel()),
    "pool": (POOLS, lambda layer, x, output: x.numel()),
}


@dataclass(frozen=True)
class LayerOperations:
    """Operations of one layer for one sample, all time steps together."""

    name: str
    kind: str
    operations: float
    ac: float
    mac: float
    rates: tuple[float, ...]
    """Mean spikes per input and step over the batches, 1 for a batch that is no spikes; attention: of q, k and v."""
    heads: int | None = None

    @property
    def dense(self) -> bool:
        """Whether no batch of its input was spikes."""
        return self.kind not in ("neuron", "attention") and abs(self.rates[0] - 1) < 1e-6


def attention_operations(
    name: str,
    steps: float,
    heads: int,
    tokens: int,
    width: int,
    rates: tuple[float, float, float],
    value_width: int | None = None,
) -> LayerOperations:
    """Operations of scale * q k^T v, with q, k `[steps, heads, tokens, width]` and v `[..., value_width or width]`.

    The product of two spike tensors adds where both spike, at most as often as the sparser one does; the other product
    adds where the remaining operand spikes: ACs = n_1 min(r_k, r_v) + n_2 r_q for q (k^T v), by the published formula.
    """
    value_width = value_width or width
    q, k, v = rates
    pairs = steps * heads * tokens
    if keys_meet_values_first(tokens, width, value_width):
        first = second = pairs * width * value_width
        inner, outer = min(k, v), q
    else:
        first, second = pairs * tokens * width, pairs * tokens * value_width
        inner, outer = min(q, k), v
    return LayerOperations(name, "attention", first + second, first * inner + second * outer, 0.0, rates, heads)


def spike_rate(x: Tensor, levels: tuple[float, float] = (1, 1)) -> float | None:
    """Mean spikes per number of `x`, or None if it is no spikes.

    With `levels` (norm, D) other than (1, 1), `x` must be multiples of 1/norm from 0 to D/norm, as the integer neurons
    send: n/norm stands for n spikes. Otherwise `x` must have at most two values, within [0, 1].
    """
    norm, top = levels
    if levels != (1, 1):
        spikes = x * norm
        whole = (spikes - spikes.round()).abs().max() < 1e-3
        return spikes.mean().item() if whole and 0 <= spikes.min() and spikes.max() <= top + 1e-3 else None
    low, high = x.aminmax()
    binary = 0 <= low and high <= 1 and ((x == low) | (x == high)).all()
    return x.mean().item() if binary else None


class _Levels:
    """(norm, D) of the neuron that spoke last: how a layer knows what an integer spike in its input is worth."""

    current: tuple[float, float] = (1, 1)

    def listen(self, neuron: nn.Module) -> None:
        integer = isinstance(neuron, IntegerLIF)
        self.current = (neuron.constants.norm, neuron.constants.max_value) if integer else (1, 1)


class _Layer:
    """Sums over the calls of one module."""

    def __init__(self, name: str, kind: str, levels: _Levels):
        self.name, self.kind, self.levels = name, kind, levels
        self.calls, self.operations, self.ac, self.mac, self.rate = 0, 0, 0.0, 0.0, 0.0

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """The forward hook."""
        operations = KINDS[self.kind][1](module, inputs[0], output)
        if self.kind == "neuron":
            self.levels.listen(module)
            rate, self.ac = output.mean().item() * self.levels.current[0], self.ac + operations
        elif (rate := spike_rate(inputs[0], self.levels.current)) is not None:
            self.ac += operations * rate
        else:
            rate, self.mac = 1.0, self.mac + operations
        self.calls, self.operations, self.rate = self.calls + 1, self.operations + operations, self.rate + rate

    def per_sample(self, samples: int) -> LayerOperations:
        ac, mac = self.ac / samples, self.mac / samples
        return LayerOperations(self.name, self.kind, self.operations / samples, ac, mac, (self.rate / self.calls,))


class _Attention:
    """Sums over the calls of one attention product."""

    def __init__(self, name: str, levels: _Levels):
        self.name, self.levels = name, levels
        self.calls, self.steps, self.rates = 0, 0, np.zeros(3)

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """The forward hook."""
        q, _, v = inputs
        self.sizes, self.value_width = q.shape[-3:], v.shape[-1]
        self.calls, self.steps = self.calls + 1, self.steps + q.shape[:-3].numel()
        self.rates += [x.mean().item() * self.levels.current[0] for x in inputs]

    def per_sample(self, samples: int) -> LayerOperations:
        rates = tuple((self.rates / self.calls).tolist())
        return attention_operations(self.name, self.steps / samples, *self.sizes, rates, self.value_width)


def _observer(name: str, module: nn.Module, levels: _Levels) -> _Layer | _Attention | None:
    if isinstance(module, SpikingAttention):
        return _Attention(name, levels)
    kinds = (kind for kind, (types, _) in KINDS.items() if isinstance(module, types))
    return next((_Layer(name, kind, levels) for kind in kinds), None)


@torch.no_grad()
def count_operations(model: nn.Module, batches: Iterable[Tensor], batch_dim: int = 0) -> list[LayerOperations]:
    """Operations per sample of each layer that runs, in the order of `named_modules`, in evaluation mode.

    Args:
        model: any network of this repository; left in evaluation mode.
        batches: inputs of `model`.
        batch_dim: axis of an input that counts the samples.
    """
    levels, samples = _Levels(), 0
    observed = [(module, _observer(name, module, levels)) for name, module in model.named_modules()]
    observed = [(module, observer) for module, observer in observed if observer]
    handles = [module.register_forward_hook(observer) for module, observer in observed]
    model.eval()
    try:
        for x in batches:
            model(x)
            samples += x.shape[batch_dim]
    finally:
        for handle in handles:
            handle.remove()
    return [observer.per_sample(samples) for _, observer in observed if observer.calls]
