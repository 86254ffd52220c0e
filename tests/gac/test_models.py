"""The options of the GAC networks, on small ones."""

import pytest
import timm
import torch
from torch import nn

import gac  # noqa: F401  (registers the models)
from gac.encoders import ENCODERS

SMALL = {"num_classes": 5, "width": 4}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def train_once(model, image):
    """Output, gradients and running statistics of one training step."""
    output = model.train()(image)
    output.square().sum().backward()
    return [output, *(p.grad for p in model.parameters()), *model.buffers()]


@pytest.mark.parametrize("name", ["gac_ms_resnet18_cifar", "ms_resnet18_cifar", "gac_ms_resnet18"])
def test_computing_the_static_stem_once_changes_no_number(name):
    once, every = (timm.create_model(name, T=3, **SMALL, once=once).double() for once in (True, False))
    every.load_state_dict(once.state_dict())
    image = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for a, b in zip(train_once(once, image), train_once(every, image), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_an_aliased_weight_loads_and_counts_once():
    model = timm.create_model("gac_ms_resnet18_cifar", T=2, **SMALL)
    assert model.layer1[0].conv1 is model.layer1[0].conv1_s.layer.module


def test_kernel_size_of_the_gate():
    model = timm.create_model("gac_ms_resnet18", T=2, kernel_size=8, **SMALL)
    assert model.encoding.SCA.sharedMLP[0].weight.shape == (4, 4, 8, 8)


def test_imagenet_convolutions_start_as_kaiming_fan_out():
    model = timm.create_model("gac_ms_resnet18", T=2, num_classes=5, width=32)
    weight = model.conv5_x[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (weight.shape[0] * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("encoding", [*ENCODERS, lambda x: (x > 0.5).to(x.dtype).expand(4, *x.shape)])
def test_network_sees_spikes_of_another_coding(encoding):
    model = timm.create_model("ms_resnet18_cifar", T=4, encoding=encoding, **SMALL)
    seen = []
    model.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, 4, 5)
    assert seen[0].shape == (4, 2, 3, 16, 16)
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}


def test_gate_and_another_coding_exclude_each_other():
    with pytest.raises(ValueError, match="not both"):
        timm.create_model("gac_ms_resnet18_cifar", encoding="poisson")


def test_unknown_coding_is_refused():
    with pytest.raises(ValueError, match="must be one of latency"):
        timm.create_model("ms_resnet18_cifar", encoding="burst")


def test_syncbn_conversion_keeps_the_aliases():
    model = timm.create_model("gac_ms_resnet18_cifar", T=2, **SMALL)
    keys = list(model.state_dict())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert list(converted.state_dict()) == keys
    assert converted.bn1.bn.weight is converted.conv1_s.bn.seqbn.module.weight
