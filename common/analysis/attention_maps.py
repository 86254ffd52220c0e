"""The attention weights that a network computes for one sample."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from common.analysis.panels import Panel
from common.layers import SpikingAttention

Reader = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Iterable[Panel]]
"""Makes panels of the weights of one attention module from (module, its inputs, its output), a batch of one."""


def read_self_attention(module: SpikingAttention, inputs: tuple[Tensor, ...], output: Tensor) -> Iterator[Panel]:
    """Mean over steps and heads of scale * q k^T."""
    q, k, _ = inputs
    yield Panel("q k^T", (q @ k.mT * module.scale).flatten(0, -3).mean(0).numpy(), ("query", "key"))


READERS: dict[type[nn.Module], Reader] = {SpikingAttention: read_self_attention}
"""How the weights of attention modules are read that several papers share."""


@torch.no_grad()
def attention_panels(model: nn.Module, x: Tensor, readers: Mapping[type[nn.Module], Reader]) -> list[Panel]:
    """The panels of all attention modules in the order of their calls, in evaluation mode.

    Args:
        model: any network; left in evaluation mode.
        x: its input, a batch of one.
        readers: how to read each class of attention module. The weights of a reader that calls its module's parts
            again are those of the forward pass, because evaluation draws nothing at random.
    """
    panels: list[Panel] = []

    def watch(name: str, read: Reader):
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            panels.extend(replace(panel, title=f"{name}\n{panel.title}") for panel in read(module, inputs, output))

        return hook

    handles = [
        module.register_forward_hook(watch(name, read))
        for name, module in model.named_modules()
        for kind, read in readers.items()
        if isinstance(module, kind)
    ]
    try:
        model.eval()(x)
    finally:
        for handle in handles:
            handle.remove()
    return panels
