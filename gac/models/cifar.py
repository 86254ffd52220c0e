"""MS-ResNet18 for CIFAR, with and without gated attention coding (GAC, AAAI 2024).

Input `[B, in_chans, H, W]` images, output `[B, T, num_classes]` logits per step; the prediction is their mean over T.
Inside, everything is `[T, B, C, H, W]`. State dict keys are those of the authors' files, aliases included.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from common.layers import TimeConv2d, stem_of_static_image
from common.layout import Layout
from common.neurons import DecayLIFNode, Triangle
from common.recompute import Blocks, GradCheckpointing
from common.registry import register
from gac.encoders import ENCODERS
from gac.models.gau import GAC
from gac.models.layers import AliasedBatchNorm, ConvBN, alias

STAGES = ((3, 2, 1), (3, 4, 2), (2, 8, 2))
"""Blocks, width as a multiple of the stem's, and first stride of each stage."""


def neuron() -> DecayLIFNode:
    """Charges h = 0.5 v + x, fires at h > 1, hard reset in the gradient's path, triangle surrogate."""
    return DecayLIFNode(decay=0.5, threshold=1.0, surrogate=Triangle(1.0), detach_reset=False)


def conv3x3(in_channels: int, channels: int, stride: int = 1) -> TimeConv2d:
    """3x3 convolution without bias."""
    return TimeConv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)


class CIFARBlock(nn.Module):
    """out = BN(conv(LIF(BN(conv(LIF(x)))))) + shortcut(x), one stateless neuron serving both places."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = AliasedBatchNorm(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = AliasedBatchNorm(channels)
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != channels:
            pointwise = TimeConv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.downsample = ConvBN(pointwise, AliasedBatchNorm(channels))
        self.conv1_s = ConvBN(self.conv1, self.bn1)
        self.conv2_s = ConvBN(self.conv2, self.bn2)
        self.spike = neuron()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2_s(self.spike(self.conv1_s(self.spike(x)))) + self.downsample(x)


class CIFARMSResNet(GradCheckpointing, nn.Module):
    """Stem, eight blocks of widths 2, 4 and 8 times `width`, and a spiking head.

    Args:
        T: time steps; the gate is built for exactly this many, and at least 2.
        using_GAC: gate the stem's spikes; else the blocks see the stem's real-valued output, the same at every step.
        kernel_size: of the gate's spatial convolutions.
        encoding: without the gate, what turns pixels in [0, 1] into T binary frames in place of showing the image T
            times: a name in `gac.encoders.ENCODERS`, or a function from `[B, C, H, W]` to `[T, B, C, H, W]`. The paper
            compares codings, but the authors published no network for it: this one is ours.
        width: channels of the stem; 64 as published.
        once: compute what is the same at every step once, see `common.layers.stem_of_static_image`.
    """

    def __init__(
        self,
        T: int = 6,
        num_classes: int = 100,
        in_chans: int = 3,
        *,
        using_GAC: bool = True,
        kernel_size: int = 4,
        encoding: str | Callable[[Tensor], Tensor] | None = None,
        width: int = 64,
        once: bool = True,
    ):
        super().__init__()
        if T < 1:
            raise ValueError(f"T must be at least 1, got {T}")
        if encoding is not None and using_GAC:
            raise ValueError("gated attention coding is itself the encoding: choose it or `encoding`, not both")
        if isinstance(encoding, str) and encoding not in ENCODERS:
            raise ValueError(f"encoding must be one of {', '.join(ENCODERS)}, got {encoding!r}")
        self.T, self.num_classes, self.in_chans, self.once, self.using_GAC = T, num_classes, in_chans, once, using_GAC
        self.layout = Layout("b c h w", in_chans, (32, 32))
        self.to_frames = partial(ENCODERS[encoding], T=T) if isinstance(encoding, str) else encoding
        self.conv1 = conv3x3(in_chans, width)
        self.bn1 = AliasedBatchNorm(width)
        self.conv1_s = ConvBN(self.conv1, self.bn1)
        channels = width
        for number, (count, multiple, stride) in enumerate(STAGES, start=1):
            in_channels, channels = channels, multiple * width
            first = CIFARBlock(in_channels, channels, stride)
            self.add_module(
                f"layer{number}", Blocks(first, *(CIFARBlock(channels, channels, 1) for _ in range(1, count)))
            )
        self.fc1 = nn.Linear(channels, num_classes)
        self.fc1_s = nn.ModuleDict({"layer": alias(self.fc1)})
        self.spike = neuron()
        if using_GAC:
            self.encoding = GAC(T, width, kernel_size)

    def encode(self, image: Tensor) -> Tensor:
        """What the blocks see, `[T, B, width, H, W]`."""
        if self.to_frames is not None:
            return self.conv1_s(self.to_frames(image))
        drive = stem_of_static_image(self.conv1_s, image, self.T, once=self.once)
        repeated = drive.expand(self.T, *drive.shape[1:])
        return self.encoding(drive, self.spike(repeated)) if self.using_GAC else repeated

    def forward(self, image: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape[1] != self.in_chans:
            raise ValueError(f"expected images [B, {self.in_chans}, H, W], got {list(image.shape)}")
        x = self.layer3(self.layer2(self.layer1(self.encode(image))))
        return self.fc1(self.spike(x).mean((3, 4))).transpose(0, 1)


def unexportable(model: nn.Module) -> str:
    """Why a network of this paper cannot be exported; empty if it can."""
    if getattr(model, "to_frames", None) is not None:
        return "its spike coding checks the range of the pixels; choose --kwargs without `encoding`"
    return ""


@register
def gac_ms_resnet18_cifar(**kwargs) -> CIFARMSResNet:
    """MS-ResNet18 for CIFAR with gated attention coding, 12.63 M parameters; arguments as in `CIFARMSResNet`."""
    return CIFARMSResNet(**kwargs)


@register
def ms_resnet18_cifar(**kwargs) -> CIFARMSResNet:
    """MS-ResNet18 for CIFAR with direct coding or `encoding`, 12.50 M parameters; arguments as in `CIFARMSResNet`."""
    return CIFARMSResNet(using_GAC=False, **kwargs)
