"""Spike-driven inference: the integer network as one whose linear layers see only binary spikes.

An integer n in 0..D is D binary maps b_d = [n >= d], d = 1..D, and a linear layer W gives for them what it gives for n:

    W (n / norm) + bias = (1 / norm) sum_d W b_d + bias
    (q k^T) v = norm^-3 sum_{d,e,f} (q_d k_e^T) v_f

so a network with T time steps runs on T x D virtual ones (SDT V3, section 3; the release evaluates integers only). The
neuron fires its n spikes first and then rests. The virtual steps travel in the batch axis, `[D*B, ...]`, from a neuron
to the layer that it feeds, which adds them up.

A chip that handles one virtual step after another has spikes of the same step only and cannot form the products of
different ones. Such time-aligned attention is another function, the mean over steps

    (q k^T) v ~ D^2 norm^-3 sum_d (q_d k_d^T) v_d,    for scalars min(q, k, v) / D in place of q k v / D^3 (norm = D);

arXiv 2610.03291 reports that networks trained with integers lose accuracy by it.
"""

from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from common.kernels import integer_if
from common.layers import SpikingAttention
from common.neurons import IntegerLIF
from sdt_v3.models.repconv import RepConv1d


class UnrolledNeuron(nn.Module):
    """Binary spikes `[D*B, ...]` of an integer neuron's input `[B, ...]`, as many per element as its integer."""

    def __init__(self, neuron: IntegerLIF, steps: int):
        super().__init__()
        self.constants, self.steps = replace(neuron.constants, norm=1), steps

    def forward(self, x: Tensor) -> Tensor:
        counts = integer_if(x, self.constants)
        return torch.cat([(counts >= d).to(x.dtype) for d in range(1, self.steps + 1)])


class UnrolledLayer(nn.Module):
    """A convolution or linear layer applied to binary spikes `[D*B, ...]` and summed over the D virtual steps."""

    def __init__(self, layer: nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear, steps: int, norm: float):
        super().__init__()
        self.layer, self.steps, self.norm = layer, steps, norm
        self.bias, layer.bias = layer.bias, None

    def forward(self, spikes: Tensor) -> Tensor:
        total = self.layer(spikes).unflatten(0, (self.steps, -1)).sum(0) / self.norm
        return total if self.bias is None else total + self.bias.view(-1, *[1] * (total.ndim - 2))


class UnrolledAttention(nn.Module):
    """`SpikingAttention` of binary spikes `[D*B, heads, N, d]`: q_d selects among the coincidences of k_e and v_f.

    With `time_aligned` only spikes of the same step meet.
    """

    def __init__(self, product: SpikingAttention, steps: int, norm: float, *, time_aligned: bool = False):
        super().__init__()
        self.scale, self.steps, self.time_aligned = product.scale / norm**3, steps, time_aligned

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (spikes.unflatten(0, (self.steps, -1)) for spikes in (q, k, v))
        if self.time_aligned:
            return (q @ (k.mT @ v)).sum(0) * (self.scale * self.steps**2)
        coincidences = sum(k_e.mT @ v_f for k_e in k for v_f in v)
        return sum(q_d @ coincidences for q_d in q) * self.scale


UNROLLED = (UnrolledLayer, UnrolledAttention)


def spike_driven(model: nn.Module, steps: int | None = None, *, time_aligned: bool = False) -> nn.Module:
    """A copy of a base, DVS or large network, in evaluation mode, in which linear layers see binary spikes only.

    The exceptions are the layers that the network lists as `real_valued_layers`: the first convolution, which sees the
    image, and the plain head of the large family, which sees membrane values. The two convolutions of each `RepConv1d`
    become one. In float64 the logits equal those of `model` up to rounding, unless attention is `time_aligned`.

    Args:
        model: the integer network, which stays as it is.
        steps: D, the virtual steps per time step; the default and minimum is the network's `max_value`.
        time_aligned: attention multiplies spikes of the same virtual step only, which is another function.

    Raises:
        ValueError: too few steps for the network's integers, or a network without spiking inference.
    """
    if not hasattr(model, "real_valued_layers"):
        raise ValueError(f"{type(model).__name__} cannot run on spikes; give a base, DVS or large classifier")
    steps = model.max_value if steps is None else steps
    if steps < model.max_value:
        raise ValueError(f"{steps} virtual steps cannot carry integers up to {model.max_value}")
    return _unroll(deepcopy(model).eval(), "", model, steps, time_aligned)


def _unroll(module: nn.Module, name: str, model: nn.Module, steps: int, time_aligned: bool) -> nn.Module:
    """What stands for `module`, called `name` in `model`, in the spike-driven network."""
    counting = getattr(model, "counting_parts", ("head", "head_kd"))  # the neuron before a head counts
    norm = 1 if name.partition(".")[0] in counting else model.norm
    if name in model.real_valued_layers:
        return module
    if isinstance(module, IntegerLIF):
        return UnrolledNeuron(module, steps)
    if isinstance(module, SpikingAttention):
        return UnrolledAttention(module, steps, norm, time_aligned=time_aligned)
    if isinstance(module, RepConv1d):
        return UnrolledLayer(module.folded(), steps, norm)
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        return UnrolledLayer(module, steps, norm)
    for child_name, child in module.named_children():
        child_path = f"{name}.{child_name}".lstrip(".")
        setattr(module, child_name, _unroll(child, child_path, model, steps, time_aligned))
    return module
