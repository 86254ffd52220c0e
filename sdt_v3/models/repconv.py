"""Re-parameterised convolutions: several linear maps in training that equal one at inference."""

import torch
from torch import Tensor, nn

from common.layers import SpikeConv1d


class RepConv1d(nn.Module):
    """BN(W2 BN(W1 x)) of tokens `[B, C, N]` through int(ratio C) channels, no neuron in between."""

    def __init__(self, dim: int, ratio: float):
        super().__init__()
        hidden = int(ratio * dim)
        self.conv1 = nn.Sequential(SpikeConv1d(dim, hidden, 1, bias=False), nn.BatchNorm1d(hidden))
        self.conv2 = nn.Sequential(nn.Conv1d(hidden, dim, 1, bias=False), nn.BatchNorm1d(dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))

    @torch.no_grad()
    def folded(self) -> nn.Conv1d:
        """The single 1x1 convolution that computes the same in evaluation mode."""
        (w1, b1), (w2, b2) = (_affine(*pair) for pair in (self.conv1, self.conv2))
        folded = SpikeConv1d(w1.shape[1], w2.shape[0], 1, device=w1.device, dtype=w1.dtype)
        folded.weight.copy_((w2 @ w1)[:, :, None])
        folded.bias.copy_(w2 @ b1 + b2)
        return folded


def _affine(conv: nn.Conv1d, bn: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Matrix and offset of a bias-free 1x1 convolution with the BN behind it, in evaluation mode."""
    gain = bn.weight / (bn.running_var + bn.eps).sqrt()
    return gain[:, None] * conv.weight[:, :, 0], bn.bias - gain * bn.running_mean
