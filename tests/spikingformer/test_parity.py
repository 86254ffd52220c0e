"""Spikingformer, CML-Spikingformer and CML-Spikformer compute what the authors' code computed."""

import pytest
import timm.optim
import torch.nn.functional as F

import spikingformer  # noqa: F401  (registers the models)
from tests.parity.harness import check_network, fixtures, load

REPEATED = (
    "spikingformer_8_768_imagenet_h8_T4_32px",
    "spikingformer_cifar_4_384_cifar10_h12_T4",
    "cml_spikingformer_8_384_imagenet_h8_T4_64px",
    "cml_spikingformer_cifar_4_384_cifar10_h12_T4",
    "cml_spikformer_cifar_4_384_cifar10_h12_T4",
    "cml_spikingformer_dvs_2_256_cifar10dvs_T4",
)
"""What other fixtures show with less width or depth."""


def smoothed_cross_entropy(logits, labels):
    return F.cross_entropy(logits, labels, label_smoothing=0.1)


def adamw(recipe):
    return lambda model: timm.optim.create_optimizer_v2(
        model, opt="adamw", lr=recipe["lr"], weight_decay=recipe["weight_decay"], eps=recipe["eps"]
    )


@pytest.mark.parametrize("file", fixtures("spikingformer", "spikingformer_*", "cml_*", slow=REPEATED))
def test_network_equals_the_original(file):
    recipe = load(file)[0]["optimizer"]
    check_network(file, lambda drawn: drawn, smoothed_cross_entropy, recipe and adamw(recipe))
