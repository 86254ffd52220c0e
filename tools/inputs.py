"""How each network family takes its input."""

from einops import rearrange
from torch import Tensor, nn

from common.errors import UserError
from ma_snn.models.event_networks import AttentionSNN
from sdt_v3.models.dvs import EventESpikeFormer
from sma.models.vgg8 import VGG8
from spikingformer.models.transformer import SpikingTransformer

IMAGE = "c h w -> 1 c h w"
TIME_FIRST, BATCH_FIRST, X_FIRST = "t c h w -> t 1 c h w", "t c h w -> 1 t c h w", "t c h w -> 1 t c w h"
INPUTS: dict[type[nn.Module], tuple[str, ...]] = {
    VGG8: (TIME_FIRST,),
    AttentionSNN: (X_FIRST,),
    SpikingTransformer: (IMAGE, BATCH_FIRST),
    EventESpikeFormer: (BATCH_FIRST,),
    nn.Module: (IMAGE,),
}
"""What a sample `[T, C, H, W]` or `[C, H, W]` becomes as a batch of one; the first class that fits counts."""


def patterns(model: nn.Module) -> tuple[str, ...]:
    """The arrangements of `INPUTS` that `model` takes."""
    return next(patterns for kind, patterns in INPUTS.items() if isinstance(model, kind))


def arranged(values: Tensor, model: nn.Module) -> tuple[Tensor, bool]:
    """A sample as a batch of one for `model`, and whether x stands before y in it.

    Raises:
        UserError: an image for a network that takes frames, or frames for one that takes images.
    """
    fitting = [pattern for pattern in patterns(model) if len(pattern.partition(" ->")[0].split()) == values.ndim]
    if not fitting:
        wanted = "an image [C, H, W]" if patterns(model) == (IMAGE,) else "frames [T, C, H, W]"
        raise UserError(
            f"{type(model).__name__} takes {wanted}, but the sample is {list(values.shape)}; give another one"
        )
    return rearrange(values, fitting[0]), fitting[0] == X_FIRST


def batch_dim(model: nn.Module) -> int:
    """The axis of the input that counts the samples."""
    return patterns(model)[0].partition("-> ")[2].split().index("1")
