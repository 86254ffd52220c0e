"""SMA-VGG8 computes what the authors' code computed."""

import pytest
import torch
import torch.nn.functional as F

import sma  # noqa: F401  (registers the models)
from tests.parity.harness import check_network, fixtures


def mse(logits, labels):
    return F.mse_loss(logits.mean(0), F.one_hot(labels, logits.shape[-1]).to(logits.dtype))


def tet(logits, labels):
    return torch.stack([F.cross_entropy(step, labels) for step in logits]).mean()


RECIPES = {
    "dvs128": (mse, lambda model: torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-3)),
    "cifar10dvs": (mse, lambda model: torch.optim.Adam(model.parameters(), lr=1e-3)),
    "ncaltech101": (tet, lambda model: torch.optim.NAdam(model.parameters(), lr=1e-3, momentum_decay=1e-3)),
}

REPEATED = (
    "vgg8_cifar10dvs_azo",
    "vgg8_cifar10dvs_lite",
    "vgg8_cifar10dvs_loop",
    "vgg8_cifar10dvs_optim_T8",
    "vgg8_dvs128_azo",
    "vgg8_dvs128_optim_T8",
    "vgg8_ncaltech101_azo",
    "vgg8_ncaltech101_optim_T8",
)
"""The others have every option of the network between them."""


@pytest.mark.parametrize("file", fixtures("sma", "vgg8_*", slow=REPEATED))
def test_network_equals_the_original(file):
    loss_fn, optimizer = RECIPES[file.stem.split("_")[1]]
    check_network(file, lambda drawn: drawn.transpose(0, 1), loss_fn, optimizer)
