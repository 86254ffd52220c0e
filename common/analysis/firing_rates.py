"""Mean output of each spiking neuron of a network."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from common.files import atomic_path
from common.neurons import NEURONS


@contextmanager
def watch_neurons(model: nn.Module) -> Iterator[dict[str, float]]:
    """Within the block, collect the mean output of each neuron by its module name; a later forward overwrites it.

    For a spiking neuron this is its firing rate in spikes per neuron and time step.
    """
    rates: dict[str, float] = {}

    def record(name):
        return lambda module, inputs, output: rates.update({name: output.detach().float().mean().item()})

    neurons = [(name, module) for name, module in model.named_modules() if isinstance(module, NEURONS)]
    handles = [module.register_forward_hook(record(name)) for name, module in neurons]
    try:
        yield rates
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def firing_rates(model: nn.Module, x: Tensor) -> dict[str, float]:
    """Firing rate of each neuron, in the order of `named_modules`, for one batch `x` in evaluation mode."""
    was_training = model.training
    model.eval()
    with watch_neurons(model) as rates:
        model(x)
    model.train(was_training)
    return {name: rates[name] for name, _ in model.named_modules() if name in rates}


def write_rates(rates: Mapping[str, float], path: str | Path) -> None:
    """Write a table `layer,rate`."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        csv.writer(stream).writerows([("layer", "rate"), *rates.items()])
