"""Layers with the authors' names: their containers hold the same tensors a second time, and so do their files.

One module object stands under each of its names, so a state dict has every alias, and a parameter counts once.
"""

from torch import Tensor, nn

from common.layers import TimeBatchNorm


def alias(module: nn.Module) -> nn.ModuleDict:
    """A second name for `module`: `<attribute>.module`."""
    return nn.ModuleDict({"module": module})


class AliasedBatchNorm(TimeBatchNorm):
    """Batch norm over time of `[T, B, C, H, W]`, as `bn` and as `seqbn.module`, its weight starting at 1."""

    def __init__(self, channels: int):
        super().__init__(channels, weight=1.0)
        self.seqbn = alias(self.bn)


class ConvBN(nn.Module):
    """BN(conv(x)) of `[T, B, C, H, W]`, the convolution named `layer.module`."""

    def __init__(self, conv: nn.Module, bn: nn.Module):
        super().__init__()
        self.layer = alias(conv)
        self.bn = bn

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.layer.module(x))
