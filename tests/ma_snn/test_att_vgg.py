"""Att-VGG-SNN computes what the authors' code computed."""

from functools import partial

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import ma_snn  # noqa: F401  (registers the models)
from common.errors import UserError
from common.training import mse_one_hot
from tests.parity.harness import check_network, close, fixtures
from tests.tools.small_networks import lively

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


def check(file):
    ce = partial(F.cross_entropy, label_smoothing=0.1)
    loss = ce if "_ce_" in file.stem else partial(mse_one_hot, time_dim=None)
    check_network(file, lambda drawn: drawn, loss, adamw)


@pytest.mark.parametrize("file", fixtures("att_vgg", "att_vgg7_*"))
def test_network_equals_the_original(file):
    check(file)


@pytest.mark.slow
@pytest.mark.parametrize("file", fixtures("att_vgg", "att_vgg1*"))
def test_large_network_equals_the_original(file):
    check(file)


def test_no_fixture_is_forgotten():
    assert len(fixtures("att_vgg", "*")) == 7


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("attention", ["CSA", "no"])
def test_sizes_are_those_of_the_original(name, attention):
    column = ("CSA", "no").index(attention)
    for num_classes, count in zip((10, 100), PARAMETERS[name][column], strict=True):
        with torch.device("meta"):
            model = timm.create_model(name, num_classes=num_classes, attention=attention)
        assert sum(parameter.numel() for parameter in model.parameters()) == count
        assert len(model.state_dict()) == PARAMETERS[name][2][column]


def test_the_first_attention_stands_before_the_first_batch_norm():
    keys = list(timm.create_model("att_vgg7", **SMALL).state_dict())
    gates = ["ca.sharedMLP.0.weight", "ca.sharedMLP.2.weight", "sa.conv.weight"]
    assert keys[:5] == ["features.0.weight", "features.0.bias", *(f"features.1.{key}" for key in gates)]
    assert keys[5] == "features.2.weight"
    assert keys[-4:] == ["classifier.0.weight", "classifier.0.bias", "classifier.3.weight", "classifier.3.bias"]


@pytest.mark.parametrize("attention", ["CSA", "no"])
def test_the_stem_computed_once_changes_no_number(attention):
    outcomes = []
    for once in (True, False):
        torch.manual_seed(0)
        kwargs = {"attention": attention, "v_threshold": 0.1, "once": once} | SMALL
        model = timm.create_model("att_vgg7", T=3, **kwargs).double()
        logits = model(torch.rand(2, 3, 32, 32, dtype=torch.float64))
        logits.square().sum().backward()
        outcomes.append([logits, model.features[0].weight.grad, model.features[model.stem_layers - 1].running_var])
    for first, second in zip(*outcomes, strict=True):
        assert first.abs().sum() > 0
        close(first, second)


def test_weights_start_as_the_originals():
    torch.manual_seed(0)
    model = timm.create_model("att_vgg7")
    conv, attention = model.features[4], model.features[5]
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)
    assert not conv.bias.any()
    assert model.classifier[0].weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert attention.sa.conv.weight.abs().max() <= 18**-0.5  # torch's own


def test_synchronised_batch_norms_take_the_place_of_the_batch_norms():
    model = lively(timm.create_model("att_vgg7", T=2, v_threshold=0.1, **SMALL))
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(image)
        assert expected.abs().sum() > 0
        assert torch.equal(nn.SyncBatchNorm.convert_sync_batchnorm(model)(image), expected)


def test_another_attention_is_refused():
    with pytest.raises(UserError, match="'TA': Att-VGG-SNN has CSA or no"):
        timm.create_model("att_vgg7", attention="TA")


def test_an_attention_without_hidden_units_is_refused():
    with pytest.raises(UserError, match="channels = 8 with c_ratio = 16"):
        timm.create_model("att_vgg7", width=0.125)
