"""E-SpikeFormer for event cameras (SDT V3, HAR-DVS): the base network applied to each frame, logits averaged over T.

Input frames `[B, T, in_chans, H, W]`, output logits `[B, num_classes]`. No neuron integrates over time and every branch
of a transformer block has a layer scale. The neurons divide by `D_Norm`, whatever `max_value` is: the release pairs a
clamp at 4 with 1, 4 and 8.
"""

from collections.abc import Sequence

from torch import Tensor

from common.layout import Layout
from common.registry import register
from sdt_v3.models.base import ESpikeFormer


class EventESpikeFormer(ESpikeFormer):
    """`ESpikeFormer` over frames; its other arguments are those of `Backbone`.

    Args:
        D_Norm: what the neurons divide their integers by.
    """

    def __init__(
        self,
        embed_dim: Sequence[int],
        in_chans: int,
        num_classes: int,
        *,
        D_Norm: float = 1,
        layer_scale: bool = True,
        **settings,
    ):
        super().__init__(embed_dim, in_chans, num_classes, norm=D_Norm, layer_scale=layer_scale, **settings)
        self.layout = Layout("b t c h w", in_chans, (224, 224), T=8)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 5:
            raise ValueError(f"expected frames [B, T, C, H, W], got {list(x.shape)}")
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)


@register
def sdt_v3_hardvs(
    num_classes: int = 300, in_chans: int = 2, embed_dim: Sequence[int] = (64, 128, 256, 360), **kwargs
) -> EventESpikeFormer:
    """HAR-DVS network of 18.7 M parameters; keyword arguments as in `EventESpikeFormer`."""
    return EventESpikeFormer(embed_dim, in_chans, num_classes, **kwargs)


@register
def sdt_v3_gesture(
    num_classes: int = 11,
    in_chans: int = 2,
    embed_dim: Sequence[int] = (64, 128, 256, 360),
    *,
    depth: int = 2,
    D_Norm: float = 8,
    **kwargs,
) -> EventESpikeFormer:
    """Gesture and gait network of 5.6 M parameters; keyword arguments as in `EventESpikeFormer`."""
    return EventESpikeFormer(embed_dim, in_chans, num_classes, depth=depth, D_Norm=D_Norm, **kwargs)


@register
def sdt_v3_dvs_30m(
    num_classes: int = 1000,
    in_chans: int = 3,
    embed_dim: Sequence[int] = (96, 192, 384, 480),
    *,
    D_Norm: float = 4,
    **kwargs,
) -> EventESpikeFormer:
    """The 39.4 M parameters network that the release calls 30M; keyword arguments as in `EventESpikeFormer`."""
    return EventESpikeFormer(embed_dim, in_chans, num_classes, D_Norm=D_Norm, **kwargs)


@register
def sdt_v3_dvs_50m(
    num_classes: int = 1000,
    in_chans: int = 3,
    embed_dim: Sequence[int] = (120, 240, 480, 600),
    *,
    D_Norm: float = 4,
    **kwargs,
) -> EventESpikeFormer:
    """The 61.3 M parameters network that the release calls 50M; keyword arguments as in `EventESpikeFormer`."""
    return EventESpikeFormer(embed_dim, in_chans, num_classes, D_Norm=D_Norm, **kwargs)
