"""How the weights of SMA are drawn."""

from collections.abc import Iterator

from torch import Tensor

from common.analysis.panels import Panel
from sma.models.attention import SMA


def read_sma(module: SMA, inputs: tuple[Tensor, ...], output: Tensor) -> Iterator[Panel]:
    """Wt Wc of each branch, steps x channels."""
    squeezed = sum(branch(inputs[0]) for branch in module.S_Convs).mean((3, 4), keepdim=True)
    weights = module.time_attention(squeezed) * module.channel_attention(squeezed)
    for branch, matrix in zip(module.S_Convs, weights[:, :, 0, :, 0, 0].numpy(), strict=True):
        height, width = branch.conv.kernel_size
        yield Panel(f"kernel {height} x {width}", matrix, ("step", "channel"))


READERS = {SMA: read_sma}
