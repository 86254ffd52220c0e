"""SMA-VGG8: the event-camera classifiers of the SMA paper (AAAI 2025), one architecture for three data sets.

Input `[T, B, in_chans, H, W]` event frames of at least 32 x 32 pixels, output `[T, B, num_classes]` logits per step;
the prediction is their mean over T. State dict keys are those of the authors' files.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor, nn

from common.layers import SpikeConv2d, SpikeMaxPool2d, TimeFolded, TimeSharedDropout
from common.layout import Layout
from common.neurons import LIFNode
from common.registry import register
from sma.models.attention import SMA, SMA_L


@dataclass(frozen=True)
class Variant:
    """What differs between the three data sets besides time steps and classes."""

    RCR: int
    size: tuple[int, int] = (128, 128)
    """(H, W) of the frames; the network takes others too."""
    bn_beside_conv: bool = False
    """Block 1 keeps its conv and BN in one container, which changes the keys and nothing else."""


VARIANTS = {
    "dvs128": Variant(RCR=10),
    "cifar10dvs": Variant(RCR=4),
    "ncaltech101": Variant(RCR=24, size=(180, 240), bn_beside_conv=True),
}


class VGG8(nn.Module):
    """Five conv blocks, the second and third with SMA, and a three-layer spiking classifier.

    Args:
        variant: key of `VARIANTS`.
        T: time steps; the time attention is built for exactly this many.
        attention: False leaves SMA out, which gives the plain VGG8.
        AZO, azo_version: attention ZoneOut in training and which of the paper's two versions of it.
        lightweight: use SMA-L.
        width: multiplies every channel and hidden width; the paper's is 1.
        fourier: whether SMA's large kernels may work in the Fourier domain, see `sma.models.fourier`.
    """

    def __init__(
        self,
        variant: str,
        T: int,
        num_classes: int,
        in_chans: int = 2,
        *,
        attention: bool = True,
        AZO: bool = True,
        azo_version: Literal["parallel", "loop"] = "parallel",
        lightweight: bool = False,
        width: float = 1.0,
        fourier: bool = True,
    ):
        super().__init__()
        if T < 1:
            raise ValueError(f"T must be at least 1, got {T}")
        settings = VARIANTS[variant]
        c1, c2, c3, c4, h1, h2 = (round(width * n) for n in (64, 128, 256, 512, 2048, 1024))
        kind = SMA_L if lightweight else partial(SMA, RCR=settings.RCR)
        sma = partial(kind, C_reduction=4, AZO=AZO, azo_version=azo_version, fourier=fourier)
        self.T, self.num_classes = T, num_classes
        self.layout = Layout("t b c h w", in_chans, settings.size, T)
        self.block1 = plain_block(in_chans, c1, settings.bn_beside_conv)
        self.block2 = attention_block(c1, c2, sma(c2, T)) if attention else plain_block(c1, c2)
        self.block3 = attention_block(c2, c3, sma(c3, T)) if attention else plain_block(c2, c3)
        self.block4 = plain_block(c3, c4)
        self.block5 = plain_block(c4, c4)
        self.others = nn.Sequential(
            TimeFolded(nn.AdaptiveAvgPool2d(3)),
            nn.Flatten(2),
            nn.Linear(9 * c4, h1),
            LIFNode(),
            TimeSharedDropout(0.5),
            nn.Linear(h1, h2),
            LIFNode(),
            TimeSharedDropout(0.5),
            nn.Linear(h2, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 5 or x.shape[0] != self.T or min(x.shape[3:]) < 32:
            raise ValueError(f"expected frames [T={self.T}, B, C, H >= 32, W >= 32], got {list(x.shape)}")
        for block in (self.block1, self.block2, self.block3, self.block4, self.block5):
            x = block(x)
        return self.others(x)


def conv3x3(in_chans: int, channels: int) -> SpikeConv2d:
    """3x3 convolution with bias that keeps the size."""
    return SpikeConv2d(in_chans, channels, 3, padding=1)


def plain_block(in_chans: int, channels: int, bn_beside_conv: bool = False) -> nn.Sequential:
    """Conv, BN, LIF, pool: `[T, B, in_chans, H, W]` to `[T, B, channels, H/2, W/2]`."""
    conv, bn = conv3x3(in_chans, channels), nn.BatchNorm2d(channels)
    front = [TimeFolded(conv, bn)] if bn_beside_conv else [TimeFolded(conv), TimeFolded(bn)]
    return nn.Sequential(*front, LIFNode(), TimeFolded(SpikeMaxPool2d(2)))


def attention_block(in_chans: int, channels: int, attention: nn.Module) -> nn.Sequential:
    """Conv, SMA, BN, LIF, pool: `[T, B, in_chans, H, W]` to `[T, B, channels, H/2, W/2]`."""
    return nn.Sequential(
        TimeFolded(conv3x3(in_chans, channels)),
        attention,
        TimeFolded(nn.BatchNorm2d(channels)),
        LIFNode(),
        TimeFolded(SpikeMaxPool2d(2)),
    )


@register
def sma_vgg8_dvs128(T: int = 16, num_classes: int = 11, in_chans: int = 2, **kwargs) -> VGG8:
    """SMA-VGG8 for DVS128 Gesture (128 x 128, 11 classes); keyword arguments as in `VGG8`."""
    return VGG8("dvs128", T, num_classes, in_chans, **kwargs)


@register
def sma_vgg8_cifar10dvs(T: int = 10, num_classes: int = 10, in_chans: int = 2, **kwargs) -> VGG8:
    """SMA-VGG8 for CIFAR10-DVS (128 x 128, 10 classes); keyword arguments as in `VGG8`."""
    return VGG8("cifar10dvs", T, num_classes, in_chans, **kwargs)


@register
def sma_vgg8_ncaltech101(T: int = 14, num_classes: int = 101, in_chans: int = 2, **kwargs) -> VGG8:
    """SMA-VGG8 for N-Caltech101 (180 x 240, 101 classes); keyword arguments as in `VGG8`."""
    return VGG8("ncaltech101", T, num_classes, in_chans, **kwargs)
