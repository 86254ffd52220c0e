"""Att-MS-ResNet: MS-ResNet whose residual branches end in channel and spatial attention (MA-SNN, TPAMI 2023).

Input `[B, 3, H, W]` images, output `[B, num_classes]` logits; see `common.ms_resnet`. The attention ends in a ReLU, so
what a branch adds to its shortcut is never negative.
"""

from dataclasses import replace

from torch import Tensor, nn

from common.errors import UserError
from common.ms_resnet import PUBLISHED, Design, MSResNet
from common.registry import register
from ma_snn.models.attention import Attention

ATTENTIONS = ("no", "CA", "CSA")
"""Those of the paper on ImageNet."""


class TimeFirstAttention(nn.Module):
    """Attention of `[T, B, C, H, W]`, pooled over time too."""

    def __init__(self, channels: int, T: int, kind: str = "CSA", c_ratio: int = 8):
        super().__init__()
        self.attention = Attention(kind, channels, T, c_ratio, t_ratio=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x.transpose(0, 1)).transpose(0, 1)


def design(depth: int, T: int, attention: str = "CSA") -> Design:
    """The switches that make an MS-ResNet of a published depth an Att-MS-ResNet.

    Raises:
        UserError: an attention that the paper does not try on ImageNet.
    """
    if attention not in ATTENTIONS:
        raise UserError(f"attention {attention!r}: expected one of {', '.join(ATTENTIONS)}")
    return replace(
        PUBLISHED[depth],
        stem="conv7",
        shortcut="avgpool",
        last_bn=0.1,
        dropout=0.2,
        after_bn2=lambda channels, index: None if attention == "no" else TimeFirstAttention(channels, T, attention),
    )


def att_ms_resnet(
    depth: int,
    T: int = 1,
    num_classes: int = 1000,
    in_chans: int = 3,
    *,
    attention: str = "CSA",
    once: bool = True,
    **switches,
) -> MSResNet:
    """Att-MS-ResNet of a published depth; `attention` "CA" or "no" are the paper's comparisons, without published code.

    `once` is as in `common.ms_resnet.MSResNet`, and `switches` are fields of `common.ms_resnet.Design` that differ from
    the published network's, such as `stem="conv3x3"`.
    """
    return MSResNet(replace(design(depth, T, attention), **switches), T, num_classes, in_chans, once=once)


@register
def att_ms_resnet18(**kwargs) -> MSResNet:
    """Att-MS-ResNet18, 11.87 M parameters; keyword arguments as in `att_ms_resnet`."""
    return att_ms_resnet(18, **kwargs)


@register
def att_ms_resnet34(**kwargs) -> MSResNet:
    """Att-MS-ResNet34, 22.12 M parameters; keyword arguments as in `att_ms_resnet`."""
    return att_ms_resnet(34, **kwargs)


@register
def att_ms_resnet104(**kwargs) -> MSResNet:
    """Att-MS-ResNet104, 78.37 M parameters; keyword arguments as in `att_ms_resnet`."""
    return att_ms_resnet(104, **kwargs)
