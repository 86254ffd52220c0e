"""The GAC networks and the MS-ResNets that they are built on compute what the authors' code computed."""

import pytest
import torch
import torch.nn.functional as F

import gac  # noqa: F401  (registers the models)
from common.training.losses import smooth_cross_entropy
from tests.parity.harness import check_network, fixtures

REPEATED = ("gac_cifar_t6_c100", "gac_cifar_t4_c10", "direct_cifar_t4_c10", "gac_r34_t4", "ms_r34_t4", "ms_r104_t2")
"""What other fixtures show with fewer steps or less depth."""


def sgd(weight_decay):
    return lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=weight_decay)


def as_drawn(images):
    return images


@pytest.mark.parametrize("file", fixtures("gac", "gac_cifar_*", "direct_cifar_*", slow=REPEATED))
def test_cifar_network_equals_the_original(file):
    check_network(file, as_drawn, lambda logits, labels: F.cross_entropy(logits.mean(1), labels), sgd(5e-5))


@pytest.mark.parametrize("file", fixtures("gac", "gac_r*", slow=REPEATED))
def test_imagenet_network_equals_the_original(file):
    check_network(file, as_drawn, lambda logits, labels: smooth_cross_entropy(logits.mean(1), labels), sgd(1e-5))


@pytest.mark.parametrize("file", fixtures("gac", "ms_r*", slow=REPEATED))
def test_ms_resnet_equals_the_original(file):
    check_network(file, as_drawn, smooth_cross_entropy, sgd(1e-5))
