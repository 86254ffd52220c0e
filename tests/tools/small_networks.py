"""One small network of every family that the cards name."""

import pytest
from torch import nn

from tools.papers import cards


def as_flags(arguments):
    """--kwargs of the tools."""
    return [f"{key}={value}" for key, value in arguments.items()]


SMALL_NETWORKS = [
    pytest.param(family.example, as_flags(family.small), id=f"{family.example}-{as_flags(family.small)[-1]}")
    for card in cards().values()
    for family in card.families
]
"""(name, --kwargs); each takes 32 x 32 pixels."""


def lively(model: nn.Module) -> nn.Module:
    """`model` in evaluation mode with batch norms that make its neurons fire; as initialised, few do."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 1.0, 2.0)
            nn.init.normal_(module.bias, 0.5, 0.5)
    return model.eval()
