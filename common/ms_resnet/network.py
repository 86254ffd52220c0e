"""MS-ResNet: the residual network with membrane shortcuts that SMA, MA-SNN and GAC build on.

Hu, Deng, Wu, Yao, Li: "Advancing Spiking Neural Networks Toward Deep Residual Learning", TNNLS 2024, arXiv 2112.08954.

A block adds membrane drives, not spikes:  out = BN(conv(LIF(BN(conv(LIF(x)))))) + shortcut(x)

Input `[B, in_chans, H, W]` images, shown at each of T steps; output `[B, num_classes]` logits of the features' mean
over T. Inside, everything is `[T, B, C, H, W]`. State dict keys are those of the authors' files.

| published network  | stem    | shortcut | last BN | dropout | keys       | inserted               | head            |
|--------------------|---------|----------|---------|---------|------------|------------------------|-----------------|
| MS-ResNet 18, 34   | conv7   | stride   | 0       | 0       | sequential | nothing                | fc(mean over T) |
| MS-ResNet 104      | conv3x3 | avgpool  | 0       | 0.2     | sequential | nothing                | fc(mean over T) |
| SMA-ResNet         | as MS-ResNet of that depth             | sequential | SMA after conv1        | fc(mean over T) |
| Att-MS-ResNet, all | conv7   | avgpool  | 0.1     | 0.2     | sequential | CSA after bn2          | fc(mean over T) |
| GAC-MS-ResNet      | conv7   | stride   | 0       | 0       | flat       | encoder after the stem | fc, every step  |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from common.layers import TimeBatchNorm, TimeConv2d, TimeFolded, stem_of_static_image
from common.layout import Layout
from common.neurons import MSLIFNode
from common.recompute import Blocks, GradCheckpointing
from common.registry import register

Hook = Callable[[int, int], nn.Module | None]
"""Makes the module to insert into a block from (channels, index of the block in its stage), or None."""


def nothing(channels: int, index: int) -> None:
    """The hook that inserts nothing."""


@dataclass(frozen=True)
class Design:
    """What differs between the published networks, beside encoder and head: the columns of the table above."""

    blocks: tuple[int, ...]
    """Blocks per stage; the stages' widths are 1, 2, 4, ... times `width`."""
    stem: Literal["conv7", "conv3x3"] = "conv7"
    shortcut: Literal["stride", "avgpool"] = "stride"
    keys: Literal["sequential", "flat"] = "sequential"
    last_bn: float = 0.0
    """Initial weight of the last batch norm of a block; the others start at the threshold 0.5."""
    dropout: float = 0.0
    after_conv1: Hook = nothing
    after_bn2: Hook = nothing
    width: int = 64

    def __post_init__(self):
        for switch, choices in (("stem", STEMS), ("shortcut", SHORTCUTS), ("keys", BLOCKS)):
            if getattr(self, switch) not in choices:
                raise ValueError(f"{switch} must be one of {', '.join(choices)}, got {getattr(self, switch)!r}")


def conv7_stem(in_chans: int, channels: int) -> nn.Sequential:
    """One 7x7 convolution and BN, halving the image."""
    return nn.Sequential(TimeConv2d(in_chans, channels, 7, stride=2, padding=3, bias=False), TimeBatchNorm(channels))


def conv3x3_stem(in_chans: int, channels: int) -> nn.Sequential:
    """Three 3x3 convolutions with bias and nothing between them, then BN, halving the image."""
    return nn.Sequential(
        TimeConv2d(in_chans, channels, 3, stride=2, padding=1),
        TimeConv2d(channels, channels, 3, padding=1),
        TimeConv2d(channels, channels, 3, padding=1),
        TimeBatchNorm(channels),
    )


def stride_shortcut(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Strided 1x1 convolution and BN."""
    return nn.Sequential(TimeConv2d(in_channels, channels, 1, stride=stride, bias=False), TimeBatchNorm(channels))


def avgpool_shortcut(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Average pooling, 1x1 convolution and BN."""
    conv = TimeConv2d(in_channels, channels, 1, bias=False)
    return nn.Sequential(TimeFolded(EvenAvgPool2d(stride)), conv, TimeBatchNorm(channels))


class EvenAvgPool2d(nn.AvgPool2d):
    """Average pooling that refuses a map with a remainder, where pooling and a strided convolution disagree in size."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % self.kernel_size or x.shape[-1] % self.kernel_size:
            height, width = x.shape[-2:]
            raise ValueError(f"cannot halve a map of {height} x {width}: the image sides must be multiples of 32")
        return super().forward(x)


class SequentialBlock(nn.Module):
    """A block whose branch is one container, `residual_function`."""

    def __init__(self, branch: list[nn.Module], shortcut: nn.Module):
        super().__init__()
        self.residual_function = nn.Sequential(*branch)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.residual_function(x) + self.shortcut(x)


class FlatBlock(nn.Module):
    """A block whose six branch layers have names of their own; it takes no hook."""

    def __init__(self, branch: list[nn.Module], shortcut: nn.Module):
        super().__init__()
        self.spike1, self.conv1, self.bn1, self.spike2, self.conv2, self.bn2 = branch
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn1(self.conv1(self.spike1(x)))
        return self.bn2(self.conv2(self.spike2(inner))) + self.shortcut(x)


STEMS = {"conv7": conv7_stem, "conv3x3": conv3x3_stem}
SHORTCUTS = {"stride": stride_shortcut, "avgpool": avgpool_shortcut}
BLOCKS = {"sequential": SequentialBlock, "flat": FlatBlock}


def basic_block(design: Design, in_channels: int, channels: int, stride: int, index: int) -> nn.Module:
    """Block number `index` of a stage: `[T, B, in_channels, H, W]` to `[T, B, channels, H / stride, W / stride]`."""
    branch = (
        MSLIFNode(),
        TimeConv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False),
        design.after_conv1(channels, index),
        TimeBatchNorm(channels),
        MSLIFNode(),
        TimeConv2d(channels, channels, 3, padding=1, bias=False),
        TimeBatchNorm(channels, weight=design.last_bn),
        design.after_bn2(channels, index),
    )
    identity = stride == 1 and in_channels == channels
    shortcut = nn.Sequential() if identity else SHORTCUTS[design.shortcut](in_channels, channels, stride)
    return BLOCKS[design.keys]([layer for layer in branch if layer is not None], shortcut)


class MSResNet(GradCheckpointing, nn.Module):
    """Stem, four stages that each begin with stride 2, and a spiking head.

    A subclass puts an encoder between stem and stages with `add_encoder` and `encode`, and changes the head with
    `add_head` and `classify`.

    Args:
        design: the switches.
        T: time steps.
        once: compute what is the same at every step (the image is) once, see `common.layers.stem_of_static_image`.
    """

    def __init__(self, design: Design, T: int, num_classes: int = 1000, in_chans: int = 3, *, once: bool = True):
        super().__init__()
        if T < 1:
            raise ValueError(f"T must be at least 1, got {T}")
        self.T, self.num_classes, self.in_chans, self.once = T, num_classes, in_chans, once
        self.layout = Layout("b c h w", in_chans, (224, 224))
        self.conv1 = STEMS[design.stem](in_chans, design.width)
        self.add_encoder(design.width)
        self.mem_update = MSLIFNode()
        channels, self.stages = design.width, []
        for stage, count in enumerate(design.blocks):
            in_channels, channels = channels, design.width * 2**stage
            first = basic_block(design, in_channels, channels, 2, 0)
            rest = (basic_block(design, channels, channels, 1, index) for index in range(1, count))
            self.stages.append(f"conv{stage + 2}_x")
            self.add_module(self.stages[-1], Blocks(first, *rest))
        self.dropout = nn.Dropout(design.dropout)
        self.add_head(channels, num_classes)

    def add_encoder(self, channels: int) -> None:
        """Register the encoder's modules; there is none here."""

    def encode(self, drive: Tensor) -> Tensor:
        """The stages' input `[T, B, C, H, W]` from the stem's output `[1 or T, B, C, H, W]`."""
        return drive.expand(self.T, *drive.shape[1:])

    def add_head(self, channels: int, num_classes: int) -> None:
        """Register the classifier."""
        self.fc = nn.Linear(channels, num_classes)

    def classify(self, features: Tensor) -> Tensor:
        """Logits `[B, num_classes]` of pooled spikes `[T, B, C]`."""
        return self.fc(self.dropout(features.mean(0)))

    def forward(self, image: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape[1] != self.in_chans:
            raise ValueError(f"expected images [B, {self.in_chans}, H, W], got {list(image.shape)}")
        x = self.encode(stem_of_static_image(self.conv1, image, self.T, once=self.once))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.classify(self.mem_update(x).mean((3, 4)))


PUBLISHED = {
    18: Design((2, 2, 2, 2)),
    34: Design((3, 4, 6, 3)),
    104: Design((3, 8, 32, 8), stem="conv3x3", shortcut="avgpool", dropout=0.2),
}
"""MS-ResNet by depth."""


def ms_resnet(
    depth: int, T: int = 6, num_classes: int = 1000, in_chans: int = 3, *, once: bool = True, **switches
) -> MSResNet:
    """MS-ResNet of a published depth; `switches` are fields of `Design` that differ from it."""
    return MSResNet(replace(PUBLISHED[depth], **switches), T, num_classes, in_chans, once=once)


@register
def ms_resnet18(**kwargs) -> MSResNet:
    """MS-ResNet18, 11.69 M parameters; keyword arguments as in `ms_resnet`."""
    return ms_resnet(18, **kwargs)


@register
def ms_resnet34(**kwargs) -> MSResNet:
    """MS-ResNet34, 21.80 M parameters; keyword arguments as in `ms_resnet`."""
    return ms_resnet(34, **kwargs)


@register
def ms_resnet104(**kwargs) -> MSResNet:
    """MS-ResNet104, 77.35 M parameters; keyword arguments as in `ms_resnet`."""
    return ms_resnet(104, **kwargs)
