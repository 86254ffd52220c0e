"""E-SpikeFormer, large family: 83 M and 173 M parameters, pretrained as masked autoencoders (SDT V3, section 4).

Input images `[B, in_chans, H, W]` with H and W divisible by 16, shown T times; output logits `[B, num_classes]`.
Inside, T is folded into the batch: `[T*B, C, H, W]` in the stem, `[T*B, C, N]` tokens in the transformer blocks. State
dict keys are those of the authors' files. The neurons differ from the base family's (see `sdt_v3.models.neurons`).
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from common.layers import SpikeConv2d
from common.layout import Layout
from common.recompute import Blocks, GradCheckpointing
from common.registry import register
from sdt_v3.models.blocks import (
    MLP,
    Attention,
    Downsample,
    Neuron,
    layer_scale,
    scaled,
    visible_batch_norm,
)
from sdt_v3.models.neurons import open_neuron
from sdt_v3.models.repconv import RepConv1d

ATTENTION_RATIO = 1.5
"""Width of the two-layer projections of the attention, relative to the block's."""


class ConvBlock(nn.Module):
    """x + BN(conv3x3(N(BN(conv3x3(N(x)))))) through 4C channels; `[B, C, H, W]`, sparse if `visible` `[B, h, w]`."""

    def __init__(self, dim: int, neuron: Neuron):
        super().__init__()
        self.neuron1, self.conv1 = neuron(), nn.Sequential(conv3x3(dim, 4 * dim))
        self.neuron2, self.conv2 = neuron(), nn.Sequential(conv3x3(4 * dim, dim))

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        hidden = x
        for neuron, ((conv, bn),) in ((self.neuron1, self.conv1), (self.neuron2, self.conv2)):
            hidden = visible_batch_norm(bn, conv(neuron(hidden)), visible)
        return x + hidden


def conv3x3(in_chans: int, channels: int) -> nn.Sequential:
    """3x3 convolution with bias that keeps the size, then BN."""
    return nn.Sequential(SpikeConv2d(in_chans, channels, 3, padding=1), nn.BatchNorm2d(channels))


def projection(in_chans: int, channels: int) -> nn.Sequential:
    """What makes q, k, v and the output of the attention: three linear maps in a row, one at inference."""
    return nn.Sequential(RepConv1d(in_chans, ATTENTION_RATIO), nn.BatchNorm1d(channels))


class StepDropPath(nn.Module):
    """Stochastic depth of `[T*B, C, N]`: drops a branch for a whole time step, as published, or for single samples.

    The release calls timm's drop path on `[T, B, C, N]`; with T = 1 all images of a batch lose the branch together.
    """

    def __init__(self, rate: float, T: int, per_sample: bool):
        from timm.layers import DropPath

        super().__init__()
        self.drop, self.T, self.per_sample = DropPath(rate), T, per_sample

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x) if self.per_sample else self.drop(x.unflatten(0, (self.T, -1))).flatten(0, 1)


class LargeBlock(nn.Module):
    """x += rep_conv(N(x)); x += drop(scale1 attn(x)); x += drop(scale2 mlp(x)), of tokens `[T*B, C, N]`.

    Args:
        rep_ratio: hidden width of `rep_conv` relative to C; None leaves that branch out.
    """

    def __init__(self, dim: int, heads: int, neuron: Neuron, rep_ratio: float | None, scale: bool, drop: nn.Module):
        super().__init__()
        self.layer_scale1, self.layer_scale2 = layer_scale(dim, scale), layer_scale(dim, scale)
        self.spike = None if rep_ratio is None else neuron()
        self.rep_conv = None if rep_ratio is None else RepConv1d(dim, rep_ratio)
        self.attn = Attention(dim, heads, neuron, projection, scale=0.125)
        self.mlp = MLP(dim, neuron)
        self.drop_path = drop

    def forward(self, x: Tensor) -> Tensor:
        if self.rep_conv is not None:
            x = x + self.rep_conv(self.spike(x))
        x = x + self.drop_path(scaled(self.attn(x), self.layer_scale1))
        return x + self.drop_path(scaled(self.mlp(x), self.layer_scale2))


class Encoder(GradCheckpointing, nn.Module):
    """Stem of stride 16 and transformer blocks: what the classifier and the masked autoencoder share.

    Args:
        embed_dim: e0, e1, e2; the stem starts with e0 / 2.
        max_value: D, the largest integer a neuron emits.
        T: how often an image is shown.
        rep_ratio: see `LargeBlock`.
        drop_path: drop rate of the last block; it grows linearly from 0 at the first.
        drop_per_sample: see `StepDropPath`.
    """

    def __init__(
        self,
        embed_dim: Sequence[int],
        in_chans: int = 3,
        *,
        depth: int = 12,
        num_heads: int = 8,
        max_value: int = 4,
        T: int = 1,
        rep_ratio: float | None,
        layer_scale: bool,
        drop_path: float = 0.0,
        drop_per_sample: bool = False,
    ):
        super().__init__()
        if T < 1:
            raise ValueError(f"T must be at least 1, got {T}")
        e0, e1, e2 = embed_dim
        neuron = partial(open_neuron, max_value)
        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        drops = [StepDropPath(rate, T, drop_per_sample) for rate in rates]
        self.T, self.max_value, self.norm = T, max_value, max_value
        self.layout = Layout("b c h w", in_chans, (224, 224))
        self.downsample1_1 = Downsample(in_chans, e0 // 2, 7, 2)
        self.ConvBlock1_1 = Blocks(ConvBlock(e0 // 2, neuron))
        self.downsample1_2 = Downsample(e0 // 2, e0, 3, 2, neuron)
        self.ConvBlock1_2 = Blocks(ConvBlock(e0, neuron))
        self.downsample2 = Downsample(e0, e1, 3, 2, neuron)
        self.ConvBlock2_1 = Blocks(ConvBlock(e1, neuron))
        self.ConvBlock2_2 = Blocks(ConvBlock(e1, neuron))
        self.downsample3 = Downsample(e1, e2, 3, 2, neuron)
        self.block3 = Blocks(*(LargeBlock(e2, num_heads, neuron, rep_ratio, layer_scale, d) for d in drops))

    def tokens(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens `[B, C, N]`, row by row, of images `[B, in_chans, H, W]`.

        With `visible` `[B, H/16, W/16]` the stem computes at visible patches only, the transformer blocks everywhere.
        """
        one = self.ConvBlock1_1(self.downsample1_1(x, visible), visible)
        one = self.ConvBlock1_2(self.downsample1_2(one, visible), visible)
        two = self.ConvBlock2_1(self.downsample2(one, visible), visible)
        x = self.downsample3(self.ConvBlock2_2(two, visible), visible)
        return self.block3(x.flatten(2))


class LargeESpikeFormer(Encoder):
    """Classifier head(m) with m the mean over tokens, averaged over T; further arguments as in `Encoder`.

    Args:
        kd: add the distillation head, which reads spikes: head_kd(N(m)). Training then returns both logits, evaluation
            their mean.
    """

    real_valued_layers = ("downsample1_1.encode_conv", "head")
    """Linear layers that see something else than spikes; `head` reads the membrane average, as published."""

    def __init__(
        self,
        embed_dim: Sequence[int],
        in_chans: int = 3,
        num_classes: int = 1000,
        *,
        kd: bool = False,
        drop_path: float = 0.1,
        **settings,
    ):
        super().__init__(embed_dim, in_chans, layer_scale=True, drop_path=drop_path, **settings)
        self.spike = open_neuron(self.max_value, norm=1) if kd else None
        self.head = nn.Linear(embed_dim[-1], num_classes)
        self.head_kd = nn.Linear(embed_dim[-1], num_classes) if kd else None
        for head in (self.head, self.head_kd) if kd else (self.head,):
            nn.init.xavier_uniform_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        pooled = self.tokens(x.repeat(self.T, 1, 1, 1)).mean(2)
        logits = self.mean_over_time(self.head(pooled))
        if self.head_kd is None:
            return logits
        distilled = self.mean_over_time(self.head_kd(self.spike(pooled)))
        return (logits, distilled) if self.training else (logits + distilled) / 2

    def mean_over_time(self, x: Tensor) -> Tensor:
        """Mean over the steps of `[T*B, K]`: `[B, K]`."""
        return x.unflatten(0, (self.T, -1)).mean(0)


@register
def sdt_v3_83m(
    embed_dim: Sequence[int] = (128, 256, 512), *, rep_ratio: float | None = 1.5, **kwargs
) -> LargeESpikeFormer:
    """E-SpikeFormer-83M; keyword arguments as in `LargeESpikeFormer`.

    The published weights have `rep_ratio` 1.5 (85.7 M parameters), the published source builds 1.0 (82.5 M).
    """
    return LargeESpikeFormer(embed_dim, rep_ratio=rep_ratio, **kwargs)


@register
def sdt_v3_173m(
    embed_dim: Sequence[int] = (196, 384, 768), *, rep_ratio: float | None = None, **kwargs
) -> LargeESpikeFormer:
    """E-SpikeFormer-173M, 171.0 M parameters; keyword arguments as in `LargeESpikeFormer`.

    The first width is the source's 196. Its pretraining network has 192, so weights from there need (192, 384, 768).
    """
    return LargeESpikeFormer(embed_dim, rep_ratio=rep_ratio, **kwargs)
