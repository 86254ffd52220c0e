"""Time folded into the batch, and a static image's stem computed once."""

import pytest
import torch
from torch import nn

from common.layers import TimeBatchNorm, TimeConv2d, stem_of_static_image


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def train_stem(once, T, passes=1, momentum=0.1):
    """Output over time, gradients and buffers of a stem after training on random images."""
    torch.manual_seed(1)
    stem = nn.Sequential(TimeConv2d(3, 4, 3, padding=1, bias=False), TimeBatchNorm(4)).double()
    stem[1].bn.momentum = momentum
    cotangent = torch.randn(T, 2, 4, 5, 5, dtype=torch.float64)
    for _ in range(passes):
        image = torch.randn(2, 3, 5, 5, dtype=torch.float64).requires_grad_()
        output = stem_of_static_image(stem, image, T, once=once).expand(T, -1, -1, -1, -1)
        (output * cotangent).sum().backward()
    return {"output": output, "image": image.grad} | {
        name: p.grad if p.requires_grad else p for name, p in stem.state_dict(keep_vars=True).items()
    }


@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize("name", ["output", "image", "0.weight", "1.bn.weight", "1.bn.bias"])
def test_a_stem_computed_once_has_the_values_and_gradients_of_all_copies(T, name):
    torch.testing.assert_close(train_stem(True, T)[name], train_stem(False, T)[name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["1.bn.running_mean", "1.bn.running_var", "1.bn.num_batches_tracked"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_stem_computed_once_has_the_running_statistics_of_all_copies(name, momentum):
    once, every = (train_stem(once, 4, 3, momentum)[name] for once in (True, False))
    torch.testing.assert_close(once, every, rtol=1e-13, atol=0)


def test_a_stem_computed_once_runs_once():
    stem = nn.Sequential(TimeConv2d(3, 4, 3), TimeBatchNorm(4))
    assert stem_of_static_image(stem, torch.randn(2, 3, 5, 5), 6).shape == (1, 2, 4, 3, 3)


def test_evaluation_leaves_the_running_statistics_alone():
    stem = nn.Sequential(TimeConv2d(3, 4, 3), TimeBatchNorm(4)).eval()
    stem_of_static_image(stem, torch.randn(2, 3, 5, 5), 6)
    assert torch.equal(stem[1].bn.running_var, torch.ones(4))


def test_convolution_is_that_of_every_step():
    conv = TimeConv2d(3, 4, 3, stride=2).double()
    x = torch.randn(2, 3, 3, 7, 7, dtype=torch.float64)
    steps = torch.stack([nn.functional.conv2d(step, conv.weight, conv.bias, 2) for step in x])
    torch.testing.assert_close(conv(x), steps)


def test_convolution_under_autocast_returns_float32():
    with torch.autocast("cpu", torch.bfloat16):
        assert TimeConv2d(3, 4, 3)(torch.randn(2, 1, 3, 7, 7)).dtype == torch.float32


def test_batch_norm_equals_that_of_the_five_dimensional_input():
    ours, theirs = TimeBatchNorm(3, weight=1.0).double(), nn.BatchNorm3d(3).double()
    x = torch.randn(4, 2, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4))
    torch.testing.assert_close(ours.bn.running_var, theirs.running_var)
