"""Semantic FPN on E-SpikeFormer: every convolution but the first is fed by a neuron (SDT V3, section 5; ADE20K).

| part          | input                                         | output                               |
|---------------|-----------------------------------------------|--------------------------------------|
| `backbone`    | image `[B, 3, H, W]`                          | maps of strides 2, 4, 8, 16          |
| `neck`        | those                                         | the same sizes, all of `fpn_channels`|
| `decode_head` | those                                         | logits `[B, num_classes, H/2, W/2]`  |
"""

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from common.layers import SpikeConv2d
from common.layout import Layout
from common.recompute import GradCheckpointing
from sdt_v3.losses import resize
from sdt_v3.models.base import Backbone
from sdt_v3.models.blocks import Neuron
from sdt_v3.models.neurons import closed_neuron


class SegmentationBackbone(Backbone):
    """`Backbone` that returns the maps of strides 2, 4, 8 and its last; its layer scales start at `layer_scale_init`.

    The release starts them at 1e-6, so that its transformer blocks begin as the identity. With None there are none;
    timm, which does not pass None on, takes False for it.
    """

    def __init__(self, embed_dim: Sequence[int], in_chans: int, *, layer_scale_init: float | None = 1e-6, **settings):
        super().__init__(embed_dim, in_chans, layer_scale=bool(layer_scale_init), **settings)
        for name, parameter in self.named_parameters():
            if ".layer_scale" in name:
                nn.init.constant_(parameter, layer_scale_init)

    def forward(self, x: Tensor) -> list[Tensor]:
        one_a, one_b, two, _, four = self.features(x)
        return [one_a, one_b, two, four]


class SegmentationNeck(nn.Module):
    """Feature pyramid: out_i = BN(conv3x3(N(m_i))) with m_i = BN(conv1x1(N(x_i))) + m_{i+1}, resized to nearest."""

    def __init__(self, widths: Sequence[int], channels: int, neuron: Neuron):
        super().__init__()
        self.lateral_convs = nn.ModuleList(with_norm(width, channels, 1) for width in widths)
        self.fpn_convs = nn.ModuleList(with_norm(channels, channels, 3) for _ in widths)
        self.lateral_convs_spikes = nn.ModuleList(neuron() for _ in widths)
        self.fpn_convs_spikes = nn.ModuleList(neuron() for _ in widths)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        lateral = zip(self.lateral_convs_spikes, self.lateral_convs, maps, strict=True)
        merged = top_down([conv(spike(x)) for spike, conv, x in lateral])
        return [conv(spike(x)) for spike, conv, x in zip(self.fpn_convs_spikes, self.fpn_convs, merged, strict=True)]


class SegmentationHead(nn.Module):
    """conv1x1(N(sum of the chains)); chain i is max(1, i) times BN(conv3x3(N(x))), for i >= 1 each doubled in size."""

    def __init__(self, levels: int, in_chans: int, channels: int, num_classes: int, neuron: Neuron):
        super().__init__()
        self.conv_seg = SpikeConv2d(channels, num_classes, 1)
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(self.conv_seg.bias)
        self.scale_heads = nn.ModuleList()
        for level in range(levels):
            chain = nn.Sequential()
            for step in range(max(level, 1)):
                conv = SpikeConv2d(channels if step else in_chans, channels, 3, padding=1, bias=False)
                chain.append(nn.Sequential(neuron(), conv, nn.BatchNorm2d(channels)))
                if level:
                    chain.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            self.scale_heads.append(chain)
        self.out_spike = neuron()

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        first, *others = (chain(x) for chain, x in zip(self.scale_heads, maps, strict=True))
        for other in others:
            first = first + (other if other.shape == first.shape else resize(other, first.shape[2:]))
        return self.conv_seg(self.out_spike(first))


class SemanticFPN(GradCheckpointing, nn.Module):
    """The segmentor; images `[B, in_chans, H, W]`, normalised, to logits `[B, num_classes, H/2, W/2]`.

    Args:
        embed_dim: e0, e1, e2, e3 of the backbone.
        num_classes: classes of a pixel.
        in_chans: channels of an image.
        fpn_channels: width of the neck.
        head_channels: width of the head.
        max_value: D, the largest integer a neuron emits; all divide by it.
        layer_scale_init: see `SegmentationBackbone`.
        backbone: further arguments of `Backbone`.
    """

    real_valued_layers = ("backbone.downsample1_1.encode_conv",)

    def __init__(
        self,
        embed_dim: Sequence[int],
        num_classes: int = 150,
        in_chans: int = 3,
        *,
        fpn_channels: int = 128,
        head_channels: int = 128,
        max_value: int = 4,
        layer_scale_init: float | None = 1e-6,
        **backbone,
    ):
        super().__init__()
        self.num_classes, self.max_value, self.norm = num_classes, max_value, max_value
        self.layout = Layout("b c h w", in_chans, (512, 512))
        neuron = partial(closed_neuron, max_value)
        self.backbone = SegmentationBackbone(
            embed_dim, in_chans, max_value=max_value, layer_scale_init=layer_scale_init, **backbone
        )
        e0, e1, _, e3 = embed_dim
        self.neck = SegmentationNeck((e0 // 2, e0, e1, e3), fpn_channels, neuron)
        self.decode_head = SegmentationHead(4, fpn_channels, head_channels, num_classes, neuron)

    def forward(self, images: Tensor) -> Tensor:
        return self.decode_head(self.neck(self.backbone(images)))


def with_norm(in_chans: int, channels: int, kernel_size: int) -> nn.Sequential:
    """Convolution that keeps the size, Xavier-uniform with bias 0, then BN."""
    return nn.Sequential(
        xavier(SpikeConv2d(in_chans, channels, kernel_size, padding=kernel_size // 2)), nn.BatchNorm2d(channels)
    )


def xavier(layer: nn.Module) -> nn.Module:
    """`layer` with weights drawn Xavier-uniformly and bias 0."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def top_down(maps: Sequence[Tensor]) -> list[Tensor]:
    """Each map plus what came out for the coarser one, at the nearest places: m_i = x_i + m_{i+1}."""
    merged = [maps[-1]]
    for x in reversed(maps[:-1]):
        merged.insert(0, x + F.interpolate(merged[0], x.shape[2:], mode="nearest"))
    return merged
