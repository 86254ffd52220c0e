"""The switches of the MS-ResNet that three papers share; its numbers are checked in tests/gac and tests/sma."""

import pytest
import timm
import torch
from torch import nn

from common.ms_resnet import Design, MSResNet

SMALL = {"num_classes": 5, "width": 4}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small(**switches):
    return MSResNet(Design((2, 1), width=4, **switches), T=2, num_classes=5)


@pytest.mark.parametrize("T", [1, 3, 6])
def test_any_number_of_steps_works(T):
    assert timm.create_model("ms_resnet18", T=T, **SMALL)(torch.randn(2, 3, 32, 32)).shape == (2, 5)


def test_strided_shortcuts_take_any_image_size():
    assert small(shortcut="stride")(torch.randn(1, 3, 33, 47)).shape == (1, 5)


def test_pooled_shortcuts_refuse_a_size_that_cannot_be_halved():
    with pytest.raises(ValueError, match="cannot halve a map of 7 x 8: the image sides must be multiples of 32"):
        small(shortcut="avgpool")(torch.randn(1, 3, 14, 16))


def test_channels_are_checked():
    with pytest.raises(ValueError, match=r"expected images \[B, 3, H, W\], got \[1, 2, 8, 8\]"):
        small()(torch.randn(1, 2, 8, 8))


@pytest.mark.parametrize("switch", ["stem", "shortcut", "keys"])
def test_an_unknown_switch_is_refused(switch):
    with pytest.raises(ValueError, match=f"{switch} must be one of"):
        Design((1,), **{switch: "other"})


@pytest.mark.parametrize("last_bn", [0.0, 0.1])
def test_batch_norm_starts_at_the_threshold_and_the_last_of_a_block_at(last_bn):
    block = small(last_bn=last_bn).conv2_x[0]
    weights = [module.weight[0].item() for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    assert weights == pytest.approx([0.5, last_bn, 0.5])


def test_hooks_insert_where_the_papers_do():
    def tag(name):
        return lambda channels, index: nn.Identity() if (index, name) == (0, "after_conv1") or index == 1 else None

    stage = small(after_conv1=tag("after_conv1"), after_bn2=tag("after_bn2")).conv2_x
    kinds = [[type(layer).__name__ for layer in block.residual_function] for block in stage]
    layers = ["MSLIFNode", "TimeConv2d", "TimeBatchNorm"]
    with_hook = ["MSLIFNode", "TimeConv2d", "Identity", "TimeBatchNorm"]
    assert kinds == [with_hook + layers, [*with_hook, *layers, "Identity"]]


def test_both_key_styles_compute_the_same():
    sequential, flat = small(last_bn=0.5), small(last_bn=0.5, keys="flat")
    for ours, theirs in zip(sequential.parameters(), flat.parameters(), strict=True):
        theirs.data.copy_(ours.data)
    image = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(sequential(image), flat(image))


def test_dropout_acts_on_the_time_mean_in_training():
    model = small(dropout=0.5)
    seen = []
    model.dropout.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    model(torch.randn(3, 3, 16, 16))
    assert seen == [(3, 8)]
    assert model.dropout.p == 0.5


@pytest.mark.parametrize(
    ("name", "count"), [("ms_resnet18", 11_693_736), ("ms_resnet34", 21_801_896), ("ms_resnet104", 77_350_504)]
)
def test_published_parameter_count(name, count):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == count


def test_the_network_of_the_attention_paper():
    """7x7 stem, pooled shortcuts and dropout at every depth: 104 layers differ from MS-ResNet104 by the stem."""
    with torch.device("meta"):
        model = timm.create_model("ms_resnet104", stem="conv7", shortcut="avgpool", dropout=0.2, last_bn=0.1)
    three_convolutions = 3 * 64 * 9 + 2 * 64 * 64 * 9 + 3 * 64
    assert sum(p.numel() for p in model.parameters()) == 77_350_504 - three_convolutions + 3 * 64 * 49
