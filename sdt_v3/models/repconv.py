"""Re-parameterised convolutions: several linear maps in training that equal one at inference."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RepConv1d(nn.Module):
    """BN(W2 BN(W1 x)) of tokens `[B, C, N]` through int(ratio C) channels, no neuron in between."""

    def __init__(self, dim: int, ratio: float):
        super().__init__()
        hidden = int(ratio * dim)
        self.conv1 = nn.Sequential(nn.Conv1d(dim, hidden, 1, bias=False), nn.BatchNorm1d(hidden))
        self.conv2 = nn.Sequential(nn.Conv1d(hidden, dim, 1, bias=False), nn.BatchNorm1d(dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))

    @torch.no_grad()
    def folded(self) -> nn.Conv1d:
        """The single 1x1 convolution that computes the same in evaluation mode."""
        (w1, b1), (w2, b2) = (_affine(*pair) for pair in (self.conv1, self.conv2))
        folded = nn.Conv1d(w1.shape[1], w2.shape[0], 1, device=w1.device, dtype=w1.dtype)
        folded.weight.copy_((w2 @ w1)[:, :, None])
        folded.bias.copy_(w2 @ b1 + b2)
        return folded


def _affine(conv: nn.Conv1d, bn: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Matrix and offset of a bias-free 1x1 convolution with the BN behind it, in evaluation mode."""
    gain = bn.weight / (bn.running_var + bn.eps).sqrt()
    return gain[:, None] * conv.weight[:, :, 0], bn.bias - gain * bn.running_mean


class RepConv2d(nn.Module):
    """BN(conv1x1(depthwise3x3(pad(BN(conv1x1(x)))))) of `[B, C, H, W]`: the projection of SDT V2's attention.

    It stands in the release beside the attention that the published networks use, and serves those who compare the two.
    """

    def __init__(self, dim: int):
        super().__init__()
        depthwise = nn.Conv2d(dim, dim, 3, groups=dim, bias=False)
        pointwise = nn.Conv2d(dim, dim, 1, bias=False)
        self.body = nn.Sequential(
            nn.Conv2d(dim, dim, 1, bias=False),
            PaddingBatchNorm(dim),
            nn.Sequential(depthwise, pointwise, nn.BatchNorm2d(dim)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class PaddingBatchNorm(nn.Module):
    """Batch norm of `[B, C, H, W]`, then a border of one place with what the running statistics make of 0."""

    def __init__(self, channels: int):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(x)
        gain = self.bn.weight / (self.bn.running_var + self.bn.eps).sqrt()
        of_zero = (self.bn.bias - self.bn.running_mean * gain).detach()[:, None, None]
        return F.pad(y - of_zero, (1, 1, 1, 1)) + of_zero
