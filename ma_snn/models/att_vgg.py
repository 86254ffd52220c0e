"""Att-VGG-SNN: spiking VGG with channel and spatial attention for CIFAR (MA-SNN, TPAMI 2023).

    x = LIF(BN(CSA(conv3x3(x))))                       a stage; without attention LIF(BN(conv3x3(x)))
    logits = mean_t Linear(dropout(LIF(Linear(pool_8x8(x_t)))))

The attention acts on the raw output of the convolution and ends in a ReLU, so the bias of a convolution is not lost in
the batch norm. Input `[B, in_chans, H, W]` images, shown at each of T steps; inside, everything is `[T, B, C, H, W]`.
State dict keys are those of the authors' files. They write `spiking_vgg11_bn` for `att_vgg11`: all networks here have
batch norms. (Their networks without them leave the attention out even where it is asked for.)
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from common.errors import UserError
from common.layers import SpikeMaxPool2d, TimeConv2d, TimeSharedDropout, stem_of_static_image
from common.layout import Layout
from common.neurons import LIFNode
from common.registry import register
from ma_snn.models.attention import Attention

M = "M"
PUBLISHED = {
    7: (64, 64, M, 128, 128, 128),
    11: (64, 128, 256, 256, M, 512, 512, 512, 512),
    13: (64, 64, 128, 128, 256, 256, M, 512, 512, 512, 512),
    16: (64, 64, 128, 128, 256, 256, 256, M, 512, 512, 512, 512, 512, 512),
    19: (64, 64, M, 128, 128, M, *4 * (256,), M, *4 * (512,), M, *4 * (512,), M),
}
"""Channels of the stages by depth; M halves the map. All but 19 pool once: the classifier sees 16 x 16 pixels."""
POOLED = 8
HIDDEN = 1024
ATTENTIONS = ("CSA", "no")


class CSA(Attention):
    """CSA attention of `[T, B, C, H, W]`, pooled over time too; its gates lie at its own name."""

    def __init__(self, channels: int, T: int, c_ratio: int):
        super().__init__("CSA", channels, T, c_ratio, t_ratio=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


class Stages(nn.Sequential):
    """Layers of `[T, B, C, H, W]`, of which batch norms and pools see all steps as one batch.

    They are folded here, not by classes of their own, so that synchronised batch norms can take their place.
    """

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            if isinstance(layer, (nn.modules.batchnorm._BatchNorm, nn.MaxPool2d)):
                x = layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            else:
                x = layer(x)
        return x


class AttVGG(nn.Module):
    """Stages of convolution, attention, batch norm and LIF neurons, and a two-layer classifier, `[B, num_classes]`.

    Args:
        stages: channels of each stage, "M" where 2 x 2 pixels become their maximum.
        T: time steps.
        attention: "CSA" behind every convolution, or "no".
        c_ratio: how many times fewer hidden units than channels the attention has.
        v_threshold: of all neurons.
        width: multiplies every channel and hidden width; the paper's is 1.
        once: compute what is the same at every step (the image is) once, see `common.layers.stem_of_static_image`.

    Raises:
        UserError: an attention that these networks do not have, or a ratio that leaves it no hidden unit.
    """

    def __init__(
        self,
        stages: Sequence[int | str],
        T: int = 1,
        num_classes: int = 10,
        in_chans: int = 3,
        *,
        attention: str = "CSA",
        c_ratio: int = 16,
        v_threshold: float = 1.0,
        width: float = 1.0,
        once: bool = True,
    ):
        super().__init__()
        if T < 1:
            raise ValueError(f"T must be at least 1, got {T}")
        if attention not in ATTENTIONS:
            raise UserError(f"attention {attention!r}: Att-VGG-SNN has {' or '.join(ATTENTIONS)}")
        self.T, self.num_classes, self.in_chans, self.once = T, num_classes, in_chans, once
        self.layout = Layout("b c h w", in_chans, (32, 32))
        widths = [stage if stage == M else round(width * stage) for stage in stages]
        self.features = Stages(*layers(widths, T, in_chans, attention, c_ratio, v_threshold))
        self.stem_layers = next(i for i, layer in enumerate(self.features) if isinstance(layer, LIFNode))
        self.pool = nn.AdaptiveAvgPool2d(POOLED)
        channels, hidden = [stage for stage in widths if stage != M][-1], round(width * HIDDEN)
        self.classifier = nn.Sequential(
            nn.Linear(channels * POOLED**2, hidden),
            LIFNode(threshold=v_threshold),
            TimeSharedDropout(0.5),
            nn.Linear(hidden, num_classes),
        )
        self.apply(initialise)

    def forward(self, image: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape[1] != self.in_chans:
            raise ValueError(f"expected images [B, {self.in_chans}, H, W], got {list(image.shape)}")
        stem = self.features[: self.stem_layers]
        x = stem_of_static_image(stem, image, self.T, once=self.once)
        x = self.features[self.stem_layers :](x.expand(self.T, *x.shape[1:]))
        x = self.pool(x.flatten(0, 1)).flatten(1).unflatten(0, x.shape[:2])
        return self.classifier(x).mean(0)


def layers(
    stages: Sequence[int | str], T: int, in_chans: int, attention: str, c_ratio: int, v_threshold: float
) -> Iterator[nn.Module]:
    """The layers of all stages in the order of their numbers in the state dict."""
    for stage in stages:
        if stage == M:
            yield SpikeMaxPool2d(2)
            continue
        yield TimeConv2d(in_chans, stage, 3, padding=1)
        if attention != "no":
            yield CSA(stage, T, c_ratio)
        yield nn.BatchNorm2d(stage)
        yield LIFNode(threshold=v_threshold)
        in_chans = stage


def initialise(layer: nn.Module) -> None:
    """The authors' initial weights; the convolutions of the attention keep torch's."""
    if isinstance(layer, TimeConv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0, 0.01)
        nn.init.zeros_(layer.bias)


@register
def att_vgg7(**kwargs) -> AttVGG:
    """Att-VGG7, 8.82 M parameters for 10 classes; keyword arguments as in `AttVGG`.

    The original's `spiking_vgg7` declares a classifier for 512 channels and cannot run; this one has its 128.
    """
    return AttVGG(PUBLISHED[7], **kwargs)


@register
def att_vgg11(**kwargs) -> AttVGG:
    """Att-VGG11, 42.94 M parameters for 10 classes; keyword arguments as in `AttVGG`."""
    return AttVGG(PUBLISHED[11], **kwargs)


@register
def att_vgg13(**kwargs) -> AttVGG:
    """Att-VGG13, 43.13 M parameters for 10 classes; keyword arguments as in `AttVGG`."""
    return AttVGG(PUBLISHED[13], **kwargs)


@register
def att_vgg16(**kwargs) -> AttVGG:
    """Att-VGG16, 48.52 M parameters for 10 classes; keyword arguments as in `AttVGG`."""
    return AttVGG(PUBLISHED[16], **kwargs)


@register
def att_vgg19(**kwargs) -> AttVGG:
    """Att-VGG19, 53.90 M parameters for 10 classes; keyword arguments as in `AttVGG`."""
    return AttVGG(PUBLISHED[19], **kwargs)
