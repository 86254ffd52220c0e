"""Att-VGG-SNN computes what the authors' code computed."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

import ma_snn  # noqa: F401  (registers the models)
from common.training import mse_one_hot
from tests.parity.harness import check_network, fixtures

PARAMETERS = {
    "att_vgg7": ((8_815_908, 8_908_158), (8_808_650, 8_900_900), (54, 39)),
    "att_vgg11": ((42_941_850, 43_034_100), (42_791_690, 42_883_940), (84, 60)),
    "att_vgg13": ((43_129_342, 43_221_592), (42_976_586, 43_068_836), (104, 74)),
    "att_vgg16": ((48_515_380, 48_607_630), (48_288_842, 48_381_092), (134, 95)),
    "att_vgg19": ((53_901_418, 53_993_668), (53_601_098, 53_693_348), (164, 116)),
}
"""Parameters for 10 and 100 classes with CSA and without attention, and entries of the two state dicts."""
SMALL = {"width": 0.125, "c_ratio": 4}


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)


@pytest.mark.parametrize("file", fixtures("att_vgg", "*"))
def test_network_equals_the_original(file):
    ce = partial(F.cross_entropy, label_smoothing=0.1)
    loss = ce if "_ce_" in file.stem else partial(mse_one_hot, time_dim=None)
    check_network(file, lambda drawn: drawn, loss, adamw)
