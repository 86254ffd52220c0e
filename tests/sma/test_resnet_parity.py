"""SMA-ResNet, and the MS-ResNet under it, compute what the authors' code computed."""

import pytest
import timm
import torch

import sma  # noqa: F401  (registers the models)
from common.training.losses import smooth_cross_entropy
from tests.parity.harness import check_network, check_structure, fixtures, load

LARGE = ("resnet18", "resnet34", "resnet104")
"""Half a minute each: 64 x 64 pixels with five training steps, or up to 137 M parameters."""


def check(file):
    check_network(
        file,
        lambda images: images,
        smooth_cross_entropy,
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4),
    )


@pytest.mark.parametrize("file", fixtures("sma", "resnet18_azo", "ms_resnet*", slow=("ms_resnet104_no_attention",)))
def test_network_equals_the_original(file):
    check(file)


@pytest.mark.slow
@pytest.mark.parametrize("file", fixtures("sma", *LARGE))
def test_large_network_equals_the_original(file):
    check(file)


@pytest.mark.parametrize("file", fixtures("sma", *LARGE))
def test_large_network_has_the_original_keys(file):
    meta, _ = load(file)
    with torch.device("meta"):
        check_structure(timm.create_model(meta["create"]["model"], **meta["create"]["kwargs"]), meta)


def test_sma_stands_in_the_first_two_blocks_of_each_stage():
    with torch.device("meta"):
        model = timm.create_model("sma_resnet34", num_classes=5)
    blocks = {name.split(".residual_function")[0] for name, _ in model.named_parameters() if "S_Convs" in name}
    assert blocks == {f"conv{stage}_x.{index}" for stage in (2, 3, 4, 5) for index in (0, 1)}
