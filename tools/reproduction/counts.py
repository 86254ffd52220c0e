"""What follows from the shapes of a network alone: parameters and operations, counted without any weights in memory."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from common.analysis.operations import KINDS, attention_operations, count_operations
from common.layers import SpikingAttention
from common.neurons import NEURONS
from tools.reproduction.tables import Row

PRODUCTS = ("conv", "linear", "attention")
"""Kinds of layers that multiply, or add where a spike is."""


def network(row: Row, device: str = "meta") -> nn.Module:
    """The network of a row, by default without storage."""
    import timm

    with torch.device(device):
        return timm.create_model(row.model, **row.create)


def parameters(row: Row) -> int:
    """Number of parameters, those that the network never uses too."""
    return sum(parameter.numel() for parameter in network(row).parameters())


Layer = tuple[str, str, int]
"""Name, kind and number of operations."""


@torch.no_grad()
def operations(row: Row) -> list[Layer]:
    """The products of each layer for one sample, all time steps together, as `common.analysis.operations` counts."""
    model, counted = network(row).eval(), []
    for name, module in model.named_modules():
        if isinstance(module, NEURONS):
            module.forward = _same_shape  # counts nothing; its loop over time would take most of the time
        if isinstance(module, SpikingAttention):
            module.register_forward_hook(partial(_attention, name, counted))
        for kind in ("conv", "linear"):
            types, count = KINDS[kind]
            if isinstance(module, types):
                module.register_forward_hook(partial(_layer, name, kind, count, counted))
    getattr(model, "with_all_regions", model)(torch.empty(model.layout.shape(), device="meta"))
    return counted


def _same_shape(x: Tensor) -> Tensor:
    return x


def _layer(
    name: str,
    kind: str,
    count: Callable[[nn.Module, Tensor, Tensor], int],
    counted: list[Layer],
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    output: Tensor,
) -> None:
    counted.append((name, kind, count(module, inputs[0], output)))


def _attention(name: str, counted: list[Layer], module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    q, _, v = inputs
    layer = attention_operations(name, q.shape[:-3].numel(), *q.shape[-3:], (1, 1, 1), v.shape[-1])
    counted.append((name, layer.kind, layer.operations))


def on_real_numbers(row: Row) -> tuple[float, int]:
    """Share of the operations, and number of the layers, whose input is no spikes.

    Measured with random weights on one random input. Which layers get spikes is a matter of structure; how many spikes
    they get is not, and is not returned.
    """
    layout = network(row).layout
    is_events, shape = layout.channels == 2, layout.shape()
    torch.manual_seed(0)
    x = torch.poisson(torch.full(shape, 0.3)) if is_events else torch.randn(shape)
    layers = count_operations(network(row, "cpu"), [x], layout.batch_axis)
    products = [layer for layer in layers if layer.kind in PRODUCTS]
    dense = [layer for layer in products if layer.dense]
    return sum(layer.operations for layer in dense) / sum(layer.operations for layer in products), len(dense)
