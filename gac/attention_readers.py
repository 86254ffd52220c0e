"""How the gate of GAC is drawn."""

from collections.abc import Iterator

import torch
from torch import Tensor

from common.analysis.panels import SPACE, Panel
from gac.models.gau import GAC


def read_gac(module: GAC, inputs: tuple[Tensor, ...], output: Tensor) -> Iterator[Panel]:
    """The gate's mean over space and over steps and channels."""
    gate = torch.sigmoid(module.TA(inputs[0]) * module.SCA(inputs[0]))[:, 0]
    yield Panel("gate", gate.mean((2, 3)).numpy(), ("step", "channel"))
    yield Panel("gate", gate.mean((0, 1)).numpy(), SPACE)


READERS = {GAC: read_gac}
