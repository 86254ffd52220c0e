"""SMA-ResNet: the ImageNet classifiers of the SMA paper (AAAI 2025), MS-ResNets with SMA in two blocks of each stage.

Input `[B, in_chans, H, W]` images, output `[B, num_classes]` logits. State dict keys are those of the authors' files.
"""

from dataclasses import replace
from typing import Literal

from common.ms_resnet import PUBLISHED, MSResNet
from common.registry import register
from sma.models.attention import SMA, ReLUBranch

BLOCKS_WITH_SMA = 2
"""SMA stands between the first convolution and its batch norm in so many blocks at the start of each stage."""


def sma_resnet(
    depth: int,
    T: int = 6,
    num_classes: int = 1000,
    in_chans: int = 3,
    *,
    AZO: bool = False,
    azo_version: Literal["parallel", "loop"] = "parallel",
    once: bool = True,
    fourier: bool = True,
    **switches,
) -> MSResNet:
    """SMA-ResNet of a published depth.

    `AZO` is attention ZoneOut in training, `azo_version` which of the paper's two versions of it; `once` is as in
    `common.ms_resnet.MSResNet`, `fourier` as in `SMA`, and `switches` are fields of `common.ms_resnet.Design` that
    differ from MS-ResNet's.
    As published, SMA's time bottleneck is T // 1.5 wide, made an integer here: a float width cannot be built.
    """

    def attention(channels: int, index: int) -> SMA | None:
        if index >= BLOCKS_WITH_SMA:
            return None
        ratios = {"C_reduction": 4, "T_reduction": 1.5, "RCR": 4, "RTR": 2}
        return SMA(channels, T, AZO=AZO, azo_version=azo_version, branch=ReLUBranch, fourier=fourier, **ratios)

    design = replace(PUBLISHED[depth], after_conv1=attention, **switches)
    return MSResNet(design, T, num_classes, in_chans, once=once)


@register
def sma_resnet18(**kwargs) -> MSResNet:
    """SMA-ResNet18, 71.09 M parameters; keyword arguments as in `sma_resnet`."""
    return sma_resnet(18, **kwargs)


@register
def sma_resnet34(**kwargs) -> MSResNet:
    """SMA-ResNet34, 81.20 M parameters; keyword arguments as in `sma_resnet`."""
    return sma_resnet(34, **kwargs)


@register
def sma_resnet104(**kwargs) -> MSResNet:
    """SMA-ResNet104, 136.74 M parameters; keyword arguments as in `sma_resnet`."""
    return sma_resnet(104, **kwargs)
