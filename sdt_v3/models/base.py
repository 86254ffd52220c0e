"""E-SpikeFormer, base family: 5.1 M to 19 M parameters, trained from scratch on ImageNet (SDT V3, section 4).

Input images `[B, in_chans, H, W]` with H and W divisible by 16, output logits `[B, num_classes]`; no time axis.

| stage | parts                                   | channels | stride | feature map |
|-------|-----------------------------------------|----------|--------|-------------|
| 1a    | conv7x7, conv block                     | e0 / 2   | 2      | 0           |
| 1b    | conv3x3, conv block                     | e0       | 4      | 1           |
| 2     | conv3x3, 2 conv blocks                  | e1       | 8      | 2           |
| 3     | conv3x3, 3/4 of the transformer blocks  | e2       | 16     | 3           |
| 4     | conv3x3, 1/4 of the transformer blocks  | e3       | 16     | 4           |

State dict keys are those of the authors' files; `Backbone` holds them all but those of the head.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from common.layout import Layout
from common.recompute import Blocks, GradCheckpointing
from common.registry import register
from sdt_v3.models.blocks import Block, ConvBlock, Downsample
from sdt_v3.models.neurons import closed_neuron


class Backbone(GradCheckpointing, nn.Module):
    """The five stages; `forward` returns their feature maps (table above), membrane values `[B, C, H', W']`.

    Detection takes maps 1, 2, 3, 4; segmentation takes 0, 1, 2, 4 and has `layer_scale`.

    Args:
        embed_dim: e0, e1, e2, e3.
        depth: transformer blocks, int(0.75 depth) of them in stage 3 and int(0.25 depth) in stage 4.
        max_value: D, the largest integer a neuron emits.
        norm: what the neurons divide by; None is `max_value`.
        layer_scale: factors per channel on the three branches of each transformer block, starting at 1e-6.
    """

    def __init__(
        self,
        embed_dim: Sequence[int],
        in_chans: int = 3,
        *,
        depth: int = 8,
        num_heads: int = 8,
        max_value: int = 4,
        norm: float | None = None,
        layer_scale: bool = False,
    ):
        super().__init__()
        e0, e1, e2, e3 = embed_dim
        neuron = partial(closed_neuron, max_value, norm)
        block = partial(Block, heads=num_heads, neuron=neuron, with_layer_scale=layer_scale)
        self.max_value, self.norm = max_value, norm or max_value
        self.downsample1_1 = Downsample(in_chans, e0 // 2, 7, 2)
        self.ConvBlock1_1 = Blocks(ConvBlock(e0 // 2, neuron))
        self.downsample1_2 = Downsample(e0 // 2, e0, 3, 2, neuron)
        self.ConvBlock1_2 = Blocks(ConvBlock(e0, neuron))
        self.downsample2 = Downsample(e0, e1, 3, 2, neuron)
        self.ConvBlock2_1 = Blocks(ConvBlock(e1, neuron))
        self.ConvBlock2_2 = Blocks(ConvBlock(e1, neuron))
        self.downsample3 = Downsample(e1, e2, 3, 2, neuron)
        self.block3 = Blocks(*(block(e2) for _ in range(int(0.75 * depth))))
        self.downsample4 = Downsample(e2, e3, 3, 1, neuron)
        self.block4 = Blocks(*(block(e3) for _ in range(int(0.25 * depth))))

    def features(self, x: Tensor) -> list[Tensor]:
        """Feature maps of the five stages, of strides 2, 4, 8, 16, 16."""
        one_a = self.ConvBlock1_1(self.downsample1_1(x))
        one_b = self.ConvBlock1_2(self.downsample1_2(one_a))
        two = self.ConvBlock2_2(self.ConvBlock2_1(self.downsample2(one_b)))
        three = self.block3(self.downsample3(two))
        four = self.block4(self.downsample4(three))
        return [one_a, one_b, two, three, four]

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.features(x)


class ESpikeFormer(Backbone):
    """The backbone with its classifier: head(N(mean_{h,w} x)), where N emits integers 0..D; arguments of `Backbone`."""

    real_valued_layers = ("downsample1_1.encode_conv",)
    """Linear layers that see something else than spikes."""

    def __init__(self, embed_dim: Sequence[int], in_chans: int = 3, num_classes: int = 1000, **settings):
        super().__init__(embed_dim, in_chans, **settings)
        self.spike = closed_neuron(self.max_value, norm=1)
        self.head = nn.Linear(embed_dim[-1], num_classes)
        self.layout = Layout("b c h w", in_chans, (224, 224))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.spike(self.features(x)[-1].mean((2, 3))))


def image_classifier(*args, **kwargs) -> ESpikeFormer:
    """`ESpikeFormer` with the initial weights of the ImageNet networks: N(0, 0.02^2) and bias 0 in the head."""
    model = ESpikeFormer(*args, **kwargs)
    nn.init.trunc_normal_(model.head.weight, std=0.02)
    nn.init.zeros_(model.head.bias)
    return model


@register
def sdt_v3_tiny(embed_dim: Sequence[int] = (24, 48, 96, 128), **kwargs) -> ESpikeFormer:
    """E-SpikeFormer of 2.7 M parameters; keyword arguments as in `ESpikeFormer`."""
    return image_classifier(embed_dim, **kwargs)


@register
def sdt_v3_5m(embed_dim: Sequence[int] = (32, 64, 128, 192), **kwargs) -> ESpikeFormer:
    """E-SpikeFormer of 5.1 M parameters; keyword arguments as in `ESpikeFormer`."""
    return image_classifier(embed_dim, **kwargs)


@register
def sdt_v3_10m(embed_dim: Sequence[int] = (48, 96, 192, 240), **kwargs) -> ESpikeFormer:
    """E-SpikeFormer of 10 M parameters; keyword arguments as in `ESpikeFormer`."""
    return image_classifier(embed_dim, **kwargs)


@register
def sdt_v3_19m(embed_dim: Sequence[int] = (64, 128, 256, 360), **kwargs) -> ESpikeFormer:
    """E-SpikeFormer of 19 M parameters; keyword arguments as in `ESpikeFormer`."""
    return image_classifier(embed_dim, **kwargs)
