"""How the gates of MA-SNN are drawn."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn

from common.analysis.panels import SPACE, Panel
from ma_snn.models.attention import ChannelAttention, SpatialAttention, TemporalAttention


def read_gate(
    title: str, axes: tuple[str, str], module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor
) -> Iterator[Panel]:
    """The output of a gate."""
    yield Panel(title, output[0, 0, 0].numpy() if axes == SPACE else output.flatten().numpy(), axes)


READERS = {
    TemporalAttention: partial(read_gate, "temporal", ("gate", "step")),
    ChannelAttention: partial(read_gate, "channel", ("gate", "channel")),
    SpatialAttention: partial(read_gate, "spatial", SPACE),
}
