"""A convolution in the Fourier domain is that convolution, and is chosen only where it can be."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from common.layers import fold_for_inference
from sma.models.fourier import FourierConv2d, correlation, tiling

SIZES = [(1, 1), (5, 8), (24, 24), (33, 31), (70, 40)]


@pytest.fixture
def layer():
    """A layer and a batch for which it pays."""
    x = torch.randn(64, 96, 24, 24)
    conv = FourierConv2d(96, 80, 7)
    assert conv._pays(x)
    return conv, x


@pytest.mark.parametrize("k", [1, 3, 5, 7])
@pytest.mark.parametrize("size", SIZES)
def test_output_and_gradients_are_those_of_the_convolution(k, size):
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, k, k, dtype=torch.float64, requires_grad=True)
    expected, output = F.conv2d(x, weight, padding=k // 2), correlation(x, weight)
    gradient = torch.randn_like(expected)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-11)
    for ours, theirs in zip(
        torch.autograd.grad(output, (x, weight), gradient),
        torch.autograd.grad(expected, (x, weight), gradient),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("length", [1, 12, 32, 33, 100])
@pytest.mark.parametrize("k", [3, 7])
def test_tiles_cover_the_image_and_hold_no_wrapped_pixel(length, k):
    count, step, size = tiling(length, k)
    assert count * step >= length
    assert step + k - 1 == size


def test_float32_is_as_exact_as_the_convolution(layer):
    conv, x = layer
    exact = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=3)
    error = (conv(x) - exact).abs().max()
    assert error < 4 * (F.conv2d(x, conv.weight, conv.bias, padding=3) - exact).abs().max()


def test_the_layer_chooses_it_and_can_be_told_not_to(layer, monkeypatch):
    conv, x = layer
    calls = []
    monkeypatch.setattr("sma.models.fourier.correlation", lambda *args: calls.append(1) or correlation(*args))
    conv(x)
    conv.fourier = False
    conv(x)
    assert len(calls) == 1


@pytest.mark.parametrize("shape", [(1, 96, 24, 24), (64, 96, 2, 2), (0, 96, 24, 24)])
def test_small_work_stays_direct(layer, shape):
    assert not layer[0]._pays(torch.randn(shape))


@pytest.mark.parametrize("frozen", [False, True])
def test_autocast_rounds_once(layer, frozen):
    conv, x = layer
    x, gradient = x.requires_grad_(), torch.randn(64, 80, 24, 24)
    expected = conv(x)
    if frozen:
        conv.freeze()
    with torch.autocast("cpu", torch.bfloat16):
        assert conv._pays(x)
        y = conv(x)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), expected, rtol=2**-7, atol=2**-7)
        ours = torch.autograd.grad(y, (x, conv.weight), gradient.bfloat16())
    for one, other in zip(ours, torch.autograd.grad(expected, (x, conv.weight), gradient), strict=True):
        assert (one - other).norm() < 0.01 * other.norm()


def test_keys_are_those_of_a_convolution():
    assert FourierConv2d(2, 3, 5).state_dict().keys() == nn.Conv2d(2, 3, 5).state_dict().keys()


def test_a_folded_network_transforms_its_weights_once(layer, monkeypatch):
    conv, x = layer
    folded = fold_for_inference(nn.Sequential(conv, nn.BatchNorm2d(80)))
    with torch.no_grad():
        first = folded(x)
        monkeypatch.setattr("sma.models.fourier.weight_spectrum", None)
        assert torch.equal(folded(x), first)
        assert torch.equal(copy.deepcopy(folded)(x), first)


def test_a_traced_graph_keeps_the_convolution(layer):
    conv, x = layer
    operators = {str(node.target) for node in torch.export.export(conv.eval(), (x,)).graph.nodes}
    assert "aten.conv2d.default" in operators
