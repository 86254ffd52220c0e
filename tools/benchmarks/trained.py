"""Networks of suite `network` as they fire once trained: some epochs on the digits of the built-in tiny data.

As initialised hardly a neuron of a deep network fires, and nobody uses it so; how long a convolution takes that skips
zeros depends on it.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.events.frames import frames_by_number
from common.layers import SpikeConv1d, SpikeConv2d, SpikeLinear
from common.layout import Layout
from common.tiny.images import paint_digit
from common.tiny.recordings import digits, record_digit
from common.training import load_checkpoint, load_state, save_checkpoint

CLASSES = 10
PER_CLASS = 10
"""Pictures of each digit."""
EPOCHS, ENOUGH = 8, 0.95
"""At most so many epochs, fewer where this part of the pictures is right before."""
BATCH, LEARNING_RATE = 10, 1e-3


def samples(layout: Layout, per_class: int) -> tuple[Tensor, Tensor]:
    """Inputs in the order of `layout` and labels `[N]`: painted digits, or frames of recorded ones; digits in turn."""
    rng, (height, width) = np.random.default_rng(0), layout.size
    inputs, labels = [], []
    for digit, _, image in digits(CLASSES, per_class, rng):
        if "t" in layout.axes.split():
            inputs.append(frames_by_number(record_digit(image, height, width, rng), layout.T, height, width))
        else:
            inputs.append(paint_digit(image, height, width, rng.uniform(), rng).transpose(2, 0, 1) / 64 - 1.99)
        labels.append(digit)
    return torch.from_numpy(np.stack(inputs, layout.batch_axis)).float().contiguous(), torch.tensor(labels)


def keep(path: Path, model: nn.Module, layout: Layout, *, epochs: int = EPOCHS) -> dict[str, float]:
    """Weights of a trained `model` into it: those in `path`, or those of a training now, which are left there.

    Raises:
        UserError: `path` holds something else, or those of another training.
    """
    settings = {"epochs": epochs, "per_class": PER_CLASS, "size": list(layout.size), "T": layout.T}
    if not path.exists():
        facts = train(model, layout, epochs)
        save_checkpoint(path, {"model": model.state_dict(), "facts": facts}, settings)
    kept = load_checkpoint(path, settings)
    load_state(model, kept["model"], path)
    return kept["facts"]


def train(model: nn.Module, layout: Layout, epochs: int) -> dict[str, float]:
    """Train `model` in place; returns its epochs and the part of the digits that were right in the last one.

    Without epochs it is only made to fire.
    """
    x, labels = samples(layout, PER_CLASS)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    generator = torch.Generator().manual_seed(0)
    epoch, right = 0, 0.0
    while epoch < epochs and right < ENOUGH:
        epoch, hits = epoch + 1, 0
        model.train()
        for batch in torch.randperm(len(labels), generator=generator).split(BATCH):
            output = model(x.index_select(layout.batch_axis, batch))
            logits = output.mean(1 - layout.batch_axis) if output.ndim == 3 else output
            optimizer.zero_grad()
            F.cross_entropy(logits, labels[batch]).backward()
            optimizer.step()
            hits += int((logits.argmax(1) == labels[batch]).sum())
        right = hits / len(labels)
    if not epochs:
        strengthen(model)
    settle(model, x.narrow(layout.batch_axis, 0, 2 * CLASSES))
    return {"epochs": epoch, "right": right}


@torch.no_grad()
def strengthen(model: nn.Module) -> None:
    """Let spikes reach the logits of a network that was not trained, by strong linear layers: for a rehearsal."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.mul_(8)


@torch.no_grad()
def settle(model: nn.Module, x: Tensor) -> None:
    """Give batch norms the statistics of `x`: with few steps their running means still are of the first ones."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def densities(model: nn.Module, x: Tensor) -> dict[str, float]:
    """Parts of the inputs that are not 0, of layers that skip zeros and see some: of all products, least and most."""
    seen: list[tuple[float, int]] = []

    def look(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        density = (inputs[0] != 0).float().mean().item()
        if density < 1:
            seen.append((density, output.numel() * layer.weight[0].numel()))

    layers = [layer for layer in model.modules() if isinstance(layer, (SpikeConv2d, SpikeConv1d, SpikeLinear))]
    handles = [layer.register_forward_hook(look) for layer in layers]
    model.eval()(x)
    for handle in handles:
        handle.remove()
    parts, products = zip(*seen, strict=True)
    return {"density": float(np.average(parts, weights=products)), "least": min(parts), "most": max(parts)}
