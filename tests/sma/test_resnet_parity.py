"""SMA-ResNet, and the MS-ResNet under it, compute what the authors' code computed."""

import pytest
import torch

import sma  # noqa: F401  (registers the models)
from common.training.losses import smooth_cross_entropy
from tests.parity.harness import check_network, fixtures


@pytest.mark.parametrize("file", fixtures("sma", "resnet*", "ms_resnet*"))
def test_network_equals_the_original(file):
    check_network(
        file,
        lambda images: images,
        smooth_cross_entropy,
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4),
    )
