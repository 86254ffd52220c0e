"""A folded network computes what the network computes, on every family of the repository."""

import pytest
import torch
from torch import nn

import gac  # noqa: F401
import ma_snn  # noqa: F401
import sdt_v3  # noqa: F401
import sma  # noqa: F401
import spikingformer  # noqa: F401
from common.layers import TimeFolded, channels_last, fold_for_inference
from tests.marks import mostly_slow
from tests.parity.harness import FOLDER, calibrate, close, load, seeded_data, seeded_model

FAMILIES = [
    "sma/vgg8_ncaltech101_optim_T8",
    "sma/ms_resnet18_no_attention",
    "gac/gac_cifar_t4_c10",
    "gac/gac_r18_t4",
    "ma_snn/ma_snn_dvsgestures_tcsa_lif_T6_b2_s0",
    "spikingformer/spikingformer_tiny_imagenet_d2_e96_T4_64px",
    "spikingformer/cml_spikformer_tiny_cifar_d2_e96_T4_32px",
    "sdt_v3/sdt_v3_small_64px_b2",
    "sdt_v3/sdt_v3_large_small_d4_128px_b2",
    "sdt_v3/sdt_v3_hardvs_small_T3_64px_b2",
]
UNFOLDED = {"sma/vgg8_ncaltech101_optim_T8": 2}
"""Batch norms that stay: in the VGG8 two of them follow SMA instead of a convolution."""
NARROW = {"sma/vgg8_ncaltech101_optim_T8": {"width": 0.25}, "gac/gac_cifar_t4_c10": {"width": 16}}
"""The widest networks: what is compared does not depend on the width."""


def network(name):
    """The network of a fixture, no wider than it has to be, and its input."""
    meta, _ = load(FOLDER / f"{name}.npz")
    meta["create"]["kwargs"] |= NARROW.get(name, {})
    x, _ = seeded_data(meta)
    return seeded_model(meta), x.transpose(0, 1) if name.startswith("sma/vgg8") else x


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("name", FAMILIES)
def test_folding_changes_no_logit(name):
    model, x = network(name)
    calibrate(model, lambda: model(x))
    folded = fold_for_inference(model)
    with torch.no_grad():
        close(folded(x), model(x), "logits")
    assert norms(model)
    assert len(norms(folded)) == UNFOLDED.get(name, 0)


@pytest.mark.parametrize("name", mostly_slow(FAMILIES, *(name for name in FAMILIES if "18" not in name)))
def test_channels_last_changes_neither_logits_nor_gradients(name):
    found = []
    for arrange in (lambda model: model, channels_last):
        model, x = network(name)
        model = arrange(model).eval()
        y = model(x)
        y.square().sum().backward()
        found.append((y, *(p.grad for p in model.parameters() if p.grad is not None)))
    for ours, theirs in zip(*found, strict=True):
        close(ours, theirs, "channels_last")


def test_the_network_itself_stays_as_it_is():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    before = model.state_dict()
    fold_for_inference(model)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_norm_behind_another_kind_of_layer_stays():
    model = nn.Sequential(TimeFolded(nn.Conv2d(1, 4, 1)), nn.Conv3d(4, 4, 1), nn.BatchNorm2d(4))
    assert len(norms(fold_for_inference(model))) == 1
