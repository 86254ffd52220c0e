"""Spiking Multiscale Attention (SMA) and Attention ZoneOut (AZO).

Shan, Zhang, Zhu, Qiu, Eshraghian, Qu: "Advancing Spiking Neural Networks towards Multiscale Spatiotemporal Interaction
Learning", AAAI 2025, doi 10.1609/AAAI.V39I2.32141.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from common.layers import TimeBatchNorm
from common.neurons import LIFNode
from sma.models.fourier import FourierConv2d


class SpikingBranch(nn.Module):
    """LIF(BN(Conv_k(x))) of `[T, B, C, H, W]`, same shape out: one scale of SMA in the VGG8."""

    def __init__(self, channels: int, kernel_size: int, *, fourier: bool = True):
        super().__init__()
        self.conv = FourierConv2d(channels, channels, kernel_size, fourier=fourier)
        self.bn = nn.BatchNorm2d(channels)
        self.lif = LIFNode()

    def forward(self, x: Tensor) -> Tensor:
        return self.lif(self.bn(self.conv(x.flatten(0, 1))).unflatten(0, x.shape[:2]))


class ReLUBranch(nn.Module):
    """ReLU(TDBN(Conv_k(x))) of `[T, B, C, H, W]`: the graded branch that the paper's ResNet uses, BN weight from 1."""

    def __init__(self, channels: int, kernel_size: int, *, fourier: bool = True):
        super().__init__()
        self.conv = FourierConv2d(channels, channels, kernel_size, fourier=fourier)
        self.bn = TimeBatchNorm(channels, weight=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2])).relu()


class SMA(nn.Module):
    """Spiking multiscale attention: parallel branches mixed by channel and time attention of `[T, B, C, H, W]`.

    F_i = branch_i(x);  f = mean_{h,w} sum_i F_i
    Wc = softmax_i Conv_i(ReLU(Conv(f)))              per time step, C -> C // C_reduction -> C
    Wt = softmax_i Conv_i(ReLU(Conv(mean_c f)))       over time,     T -> T // T_reduction -> T
    y = sum_i AZO(Wt_i Wc_i F_i)                      (AAAI 2025, section "Spiking Multiscale Attention")

    Args:
        channel, time: sizes C and T of the input; another T is refused by the time attention.
        kernels: one branch per (odd) kernel size.
        C_reduction, T_reduction: bottleneck ratios of the two attentions.
        AZO: attention ZoneOut in training: in each branch the T // RTR least attended steps take, in the C // RCR least
            attended channels, the values of the step before. The batch shares the choice.
        RCR, RTR: replacement ratios.
        azo_version: "parallel" copies from the values before any replacement, "loop" from already replaced ones.
        branch: class of the branches, called with (channels, kernel size, fourier=fourier).
        fourier: whether large kernels may work in the Fourier domain, see `sma.models.fourier`.
    """

    channel_conv = nn.Conv2d

    def __init__(
        self,
        channel: int,
        time: int,
        kernels: Sequence[int] = (1, 3, 5, 7),
        C_reduction: int = 16,
        T_reduction: float = 4,
        AZO: bool = False,
        RCR: int = 4,
        RTR: int = 4,
        azo_version: Literal["parallel", "loop"] = "parallel",
        branch: Callable[..., nn.Module] = SpikingBranch,
        fourier: bool = True,
    ):
        super().__init__()
        if azo_version not in ("parallel", "loop"):
            raise ValueError(f"azo_version must be 'parallel' or 'loop', got {azo_version!r}")
        self.AZO, self.azo_version = AZO, azo_version
        self.replaced_channels, self.replaced_steps = channel // RCR, time // RTR
        c_hidden, t_hidden = max(1, channel // C_reduction), max(1, int(time // T_reduction))
        Conv = self.channel_conv
        self.S_Convs = nn.ModuleList(branch(channel, k, fourier=fourier) for k in kernels)
        self.C_before_attention_conv = Conv(channel, c_hidden, 1)
        self.C_after_attention_convs = nn.ModuleList(Conv(c_hidden, channel, 1) for _ in kernels)
        self.T_before_attention_conv = nn.Conv3d(time, t_hidden, 1)
        self.T_after_attention_convs = nn.ModuleList(nn.Conv3d(t_hidden, time, 1) for _ in kernels)

    def forward(self, x: Tensor) -> Tensor:
        features = [branch(x) for branch in self.S_Convs]
        squeezed = sum(features).mean((3, 4), keepdim=True)
        attentions = zip(self.time_attention(squeezed), self.channel_attention(squeezed), features, strict=True)
        if self.AZO and self.training:
            return sum(self.zoneout(wt * wc * f, wt, wc) for wt, wc, f in attentions)
        return sum(wt * wc * f for wt, wc, f in attentions)

    def channel_attention(self, f: Tensor) -> Tensor:
        """Softmax over branches, per step and channel: `[T, B, C, 1, 1]` to `[n, T, B, C, 1, 1]`."""
        hidden = self.C_before_attention_conv(f.flatten(0, 1)).relu()
        scores = torch.stack([conv(hidden) for conv in self.C_after_attention_convs])
        return scores.softmax(0).unflatten(1, f.shape[:2])

    def time_attention(self, f: Tensor) -> Tensor:
        """Softmax over branches, per step: `[T, B, C, 1, 1]` to `[n, T, B, 1, 1, 1]`."""
        hidden = self.T_before_attention_conv(f.mean(2, keepdim=True).transpose(0, 1)).relu()
        scores = torch.stack([conv(hidden) for conv in self.T_after_attention_convs])
        return scores.softmax(0).transpose(1, 2)

    @torch.no_grad()
    def least_attended(self, wt: Tensor, wc: Tensor) -> tuple[Tensor, Tensor]:
        """Steps (in ascending attention) and channels that AZO replaces, from one branch's two attentions."""
        steps = wt.sum((1, 2, 3, 4)).topk(self.replaced_steps, largest=False).indices
        per_step = wc.sum((1, 3, 4)).expand(wt.shape[0], -1)
        channels = per_step[steps].sum(0).topk(self.replaced_channels, largest=False).indices
        return steps, channels

    def zoneout(self, attended: Tensor, wt: Tensor, wc: Tensor) -> Tensor:
        """Attention ZoneOut of one branch's weighted features `[T, B, C, H, W]`; step 0 has none before it."""
        steps, channels = self.least_attended(wt, wc)
        before = (steps - 1).clamp(min=0)
        source = torch.arange(attended.shape[0], device=attended.device)
        if self.azo_version == "parallel":
            source = source.index_copy(0, steps, before)
        else:
            for t, earlier in zip(steps.split(1), before.split(1), strict=True):
                source = source.index_copy(0, t, source[earlier])
        replaced = torch.zeros(attended.shape[2], dtype=torch.bool, device=attended.device)
        replaced[channels] = True
        return torch.where(replaced[:, None, None], attended[source], attended)


class SMA_L(SMA):
    """Lightweight SMA: the channel attention pools time away first, so one set of channel weights serves all steps.

    As published, AZO in it always replaces C // 16 channels and T // 4 steps.
    """

    channel_conv = nn.Conv3d

    def __init__(self, channel: int, time: int, *args, RCR: int = 16, RTR: int = 4, **kwargs):
        super().__init__(channel, time, *args, RCR=RCR, RTR=RTR, **kwargs)

    def channel_attention(self, f: Tensor) -> Tensor:
        """Softmax over branches, per channel: `[T, B, C, 1, 1]` to `[n, 1, B, C, 1, 1]`."""
        hidden = self.C_before_attention_conv(f.mean(0).unsqueeze(-1)).relu()
        scores = torch.stack([conv(hidden) for conv in self.C_after_attention_convs])
        return scores.softmax(0).squeeze(-1).unsqueeze(1)
