"""The gate of Gated Attention Coding (GAC): how strongly each spike of the encoder passes.

Qiu, Zhu, Chou, Wang, Deng, Li: "Gated Attention Coding for Training High-performance and Efficient Spiking Neural
Networks", AAAI 2024, arXiv 2308.06582.

    O = sigmoid(M(A) N(A)) S

with the stem's output A, its spikes S, the temporal attention M (`TA`) and the spatial-channel attention N (`SCA`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError


class TA(nn.Module):
    """Temporal attention M = f(mean of A_t) + f(max of A_t), f a bottleneck T -> T // ratio -> T over time.

    A is `[T, B, C, H, W]`, or `[1, B, C, H, W]` when all steps are equal; M is `[T, B, 1, 1, 1]`, and not squashed.

    Raises:
        UserError: T // ratio is 0, so that nothing is left of the bottleneck.
    """

    def __init__(self, T: int, ratio: int = 2):
        super().__init__()
        hidden = T // ratio
        if hidden < 1:
            raise UserError(
                f"gated attention coding needs T of at least {ratio}, got T={T}: its temporal bottleneck has "
                f"T // {ratio} channels; choose a larger T or a network without the gate"
            )
        self.T = T
        self.sharedMLP = nn.Sequential(
            nn.Conv3d(T, hidden, 1, bias=False),
            nn.ReLU(),
            nn.Conv3d(hidden, T, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        steps = x.flatten(2)
        attention = sum(self.over_time(pooled) for pooled in (steps.mean(2), steps.max(2).values))
        return attention[..., None, None, None]

    def over_time(self, pooled: Tensor) -> Tensor:
        """The bottleneck f of `[1 or T, B]`, as `[T, B]`."""
        series = pooled.expand(self.T, -1).t()[..., None, None, None]
        return self.sharedMLP(series).flatten(1).t()


class SCA(nn.Module):
    """Spatial-channel attention N = conv(ReLU(conv(A))) of each step of `[T, B, C, H, W]`, same shape out."""

    def __init__(self, channels: int, kernel_size: int = 4, ratio: int = 1):
        super().__init__()
        self.sharedMLP = nn.Sequential(
            SameConv2d(channels, channels // ratio, kernel_size, bias=False),
            nn.ReLU(),
            SameConv2d(channels // ratio, channels, kernel_size, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.sharedMLP(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class SameConv2d(nn.Conv2d):
    """Convolution that keeps the size with any kernel k: (k - 1) // 2 zeros before and k // 2 after on each axis.

    What `padding="same"` does, but without its warning about even kernels.
    """

    def forward(self, x: Tensor) -> Tensor:
        before, after = (self.kernel_size[0] - 1) // 2, self.kernel_size[0] // 2
        return super().forward(F.pad(x, (before, after, before, after)))


class GAC(nn.Module):
    """O = sigmoid(M(A) N(A)) S: gated spikes `[T, B, C, H, W]` of A `[1 or T, B, C, H, W]` and S `[T, B, C, H, W]`."""

    def __init__(self, T: int, channels: int, kernel_size: int = 4):
        super().__init__()
        self.TA = TA(T)
        self.SCA = SCA(channels, kernel_size)

    def forward(self, x: Tensor, spikes: Tensor) -> Tensor:
        return torch.sigmoid(self.TA(x) * self.SCA(x)) * spikes
