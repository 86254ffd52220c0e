"""Layers that several papers share: time folded into the batch, batch norm over time, dropout shared over time."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TimeFolded(nn.Sequential):
    """Applies its children to `[T, B, ...]` as to one batch `[T*B, ...]`: T calls of a layer become one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class TimeBatchNorm(nn.Module):
    """Batch norm over time, batch and space, per channel, of `[T, B, C, H, W]`, with its weight starting at `weight`.

    MS-ResNet starts it at the threshold 0.5, and at 0 for the last one of a block; its parameters live under `bn`.
    """

    def __init__(self, channels: int, weight: float = 0.5):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        nn.init.constant_(self.bn.weight, weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class TimeSharedDropout(nn.Dropout):
    """Dropout of `[T, B, ...]` whose mask is drawn once per sample and kept for all T steps."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(torch.ones_like(x[0]), self.p)
