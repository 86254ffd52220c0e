"""What every neuron layer of a network does for one sample: who fires when, who fires where, and how much."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from common.analysis.panels import SPACE, Panel
from common.errors import UserError
from common.files import atomic_path
from common.neurons import NEURONS


@dataclass(frozen=True)
class Activity:
    """Output of one call of one neuron layer; for neurons that send 0 or 1 a mean is a firing rate."""

    name: str
    shape: tuple[int, ...]
    """The neurons of one step: `[C, H, W]`, `[C, N]` or `[F]`."""
    raster: np.ndarray
    """`[neurons, T]`: the output of the most active neurons at each step, the most active first."""
    rate_map: np.ndarray
    """Mean over the steps, and for `[C, H, W]` over the channels: `[H, W]`, `[C, N]` or `[F]`."""
    rate: float
    active: float
    """Share of the neurons that sent anything but 0."""


@torch.no_grad()
def neuron_activity(model: nn.Module, x: Tensor, neurons: int = 100) -> list[Activity]:
    """Activity of every neuron layer of `model`, in the order of their calls, in evaluation mode.

    Args:
        model: any network of this repository; left in evaluation mode.
        x: its input, a batch of one.
        neurons: rows of a raster, at most.
    """
    activities: list[Activity] = []
    calls: dict[str, int] = {}

    def watch(name: str):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            title = name if calls[name] == 1 else f"{name}, call {calls[name]}"
            activities.append(_activity(title, _by_step(module, output), neurons))

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, NEURONS)]
    handles = [module.register_forward_hook(watch(name)) for name, module in layers]
    try:
        model.eval()(x)
    finally:
        for handle in handles:
            handle.remove()
    return activities


@torch.no_grad()
def heat_maps(model: nn.Module, x: Tensor, number: int) -> np.ndarray:
    """Output of the neuron layer `number` (from 0, as registered) summed over channels, `[T, H, W]` from 0 to 1.

    Each step is scaled by its own minimum and maximum; a step of one value is 0.

    Raises:
        UserError: there is no such layer, or its neurons have no place in an image.
    """
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, NEURONS)]
    if not 0 <= number < len(layers):
        raise UserError(f"--neuron {number}: there are layers 0 to {len(layers) - 1}")
    (name, neuron), sums = layers[number], []
    handle = neuron.register_forward_hook(lambda module, _, output: sums.append(_by_step(module, output).float()))
    try:
        model.eval()(x)
    finally:
        handle.remove()
    if sums[0].ndim != 4:
        raise UserError(f"--neuron {number}: {name} gives {list(sums[0].shape[1:])} per step, no map [C, H, W]")
    maps = sums[0].sum(1)
    low, high = (each.view(-1, 1, 1) for each in (maps.flatten(1).amin(1), maps.flatten(1).amax(1)))
    return ((maps - low) / (high - low).clamp_min(torch.finfo().tiny)).numpy()


def _by_step(neuron: nn.Module, output: Tensor) -> Tensor:
    """`[T, ...]` of a batch of one; a neuron without time axis sees time folded into the batch."""
    return output if neuron.time_dim is None else output.movedim(neuron.time_dim, 0)[:, 0]


def _activity(name: str, output: Tensor, neurons: int) -> Activity:
    output = output.float()
    steps, mean = output.flatten(1), output.mean(0)
    chosen = steps.abs().sum(0).argsort(descending=True, stable=True)[:neurons]
    rate_map = mean.mean(0) if mean.ndim == 3 else mean
    active = (steps != 0).any(0).float().mean().item()
    shape = tuple(output.shape[1:])
    return Activity(name, shape, steps[:, chosen].T.numpy(), rate_map.numpy(), steps.mean().item(), active)


def _title(one: Activity) -> str:
    return f"{one.name}\n{one.rate:.2e} spikes per neuron and step" if one.rate else f"{one.name}\nno spike"


def raster_panels(activities: Iterable[Activity]) -> list[Panel]:
    """One panel per layer, neurons over steps."""
    return [Panel(_title(one), one.raster, ("most active neurons", "step")) for one in activities]


def rate_panels(activities: Iterable[Activity]) -> list[Panel]:
    """One panel per layer, the mean output of each place."""
    axes = {3: SPACE, 2: ("channel", "token"), 1: ("rate", "neuron")}
    return [Panel(_title(one), one.rate_map, axes[len(one.shape)]) for one in activities]


def write_rates(activities: Iterable[Activity], path: str | Path) -> Path:
    """Write a table `layer,neurons,rate,active` with `neurons` as in 64x32x32."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("layer", "neurons", "rate", "active"))
        for one in activities:
            writer.writerow((one.name, "x".join(map(str, one.shape)), f"{one.rate:.6g}", f"{one.active:.6g}"))
    return Path(path)
