"""A neuron leaves the bits of its spikes with its output, and whoever reads them finds what is there."""

import pytest
import torch

from common.kernels import cpu, known, operators, spike_conv, spikes, use_convolution
from common.kernels.encoding import encode_lif
from common.neurons import IntegerLIF, LIAFNode, LIFNode

pytestmark = pytest.mark.skipif(
    bool(cpu.refusal("cpu", torch.float32) or spikes.refusal()), reason="nothing was compiled"
)
SHAPE = (3, 2, 32, 16, 16)


def fired(*shape, neuron=None):
    """Output of a neuron for random input, and a copy of it that nothing is known of."""
    torch.manual_seed(0)
    y = (neuron or LIFNode())(torch.randn(shape) * 2)
    return y, y.detach().clone()


def seen(x, width):
    """What `look` finds in `x` as rows of `width`: the bits that count, and how many are set."""
    found, count = spikes.look(x, (1, x.numel() // width, 1, width, 1, 1, 1, 1, 0), "pointwise")
    return found.bits[: x.numel() // width * ((width + 7) // 8)].tolist(), count


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("side", [1, 2, 4, 7, 8, 14, 16, 57, 64, 100])
@pytest.mark.parametrize("T", [1, 2, 6])
def test_bits_are_those_of_the_output(T, side, threads):
    y, copy = fired(T, 2, 64 if side > 14 else 256, side, side)
    assert known.bits(y) is not None if y.numel() >= known.FEWEST else known.bits(y) is None
    assert known.bits(copy) is None
    assert seen(y, side) == seen(copy, side)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        again, _ = fired(*y.shape)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(again, y)
    assert seen(again, side) == seen(copy, side)


def test_views_of_all_know_them_and_others_do_not():
    y, _ = fired(*SHAPE)
    for view in (y.flatten(0, 1), y.flatten(0, 1).flatten(2).unsqueeze(2), y.view(-1)):
        assert known.bits(view) is known.bits(y)
    for other in (y[1], y[1:], y.mT, y.view(torch.int32), y.flatten(0, 1)[:, :16], y + 0, y.view(-1)[:64]):
        assert known.bits(other) is None


@pytest.mark.parametrize("change", [lambda y: y.mul_(2), lambda y: y.flatten().add_(1), lambda y: y[0].zero_()])
def test_a_changed_output_is_looked_at_again(change):
    y, _ = fired(*SHAPE)
    change(y)
    assert known.bits(y) is None
    x, weight = y.flatten(0, 1), torch.randn(8, 32, 3, 3)
    with use_convolution("spike"):
        assert torch.equal(spike_conv.conv2d(x, weight, None, 1, 1), spike_conv.conv2d(x.clone(), weight, None, 1, 1))


def test_nothing_is_known_of_numbers_that_are_no_spikes():
    assert known.bits(fired(*SHAPE, neuron=LIAFNode())[0]) is None
    assert known.bits(fired(*SHAPE, neuron=IntegerLIF())[0]) is None
    for dtype in (torch.float64, torch.bfloat16):
        assert known.bits(LIFNode()(torch.randn(SHAPE, dtype=dtype))) is None
    assert known.bits(LIFNode()(torch.randn(SHAPE).transpose(2, 4))) is None
    with torch.inference_mode():
        assert known.bits(LIFNode()(torch.randn(SHAPE))) is None


def test_operators_of_compiled_graphs_leave_none():
    """Such a graph writes into the memory of what it has done with, unseen."""
    y = operators.neuron(torch.randn(SHAPE), *encode_lif(LIFNode().constants), 0)
    assert known.bits(y) is None


@pytest.mark.parametrize("side", [7, 8])
def test_results_and_gradients_are_the_same_bit_for_bit(side):
    weight = torch.randn(16, 32, 3, 3)
    results = []
    for forget in (False, True):
        x = torch.randn(4, 8, 32, side, side, generator=torch.Generator().manual_seed(1), requires_grad=True)
        own = weight.clone().requires_grad_()
        y = LIFNode()(x)
        folded = y.flatten(0, 1)
        assert known.bits(folded) is not None
        with use_convolution("spike"):
            out = spike_conv.conv2d(folded.clone() if forget else folded, own, None, 1, 1)
        out.square().sum().backward()
        results.append((out, own.grad, x.grad))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 8, 16, 16), (3, 5, 7, 3), (1,), (64,), (200,)])
def test_a_step_that_is_repeated_is_read_as_it_is(shape, dtype):
    x = torch.randn(shape, dtype=dtype) * 2
    expanded = x.expand(6, *shape)
    y = LIFNode()(expanded)
    assert torch.equal(y, LIFNode()(expanded.contiguous()))
    assert y.is_contiguous()
