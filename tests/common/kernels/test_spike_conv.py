"""Convolutions that skip zeros equal dense ones in float64 up to rounding, and run only where they should."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.kernels import spike_conv, use_convolution
from common.kernels import spikes as kernel_spikes
from common.kernels.spikes import LIMITS, compress, refusal
from common.layers import SpikeConv1d, SpikeConv2d, SpikeLinear, TimeConv2d, channels_last, fold_for_inference

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"zeros are not skipped: {refusal()}")


def spikes(*shape, density=0.1, largest=1, seed=0):
    """Integers from 0 to `largest` over `largest`, so many of them not 0."""
    generator = torch.Generator().manual_seed(seed)
    there = torch.rand(shape, generator=generator) < density
    return there * torch.randint(1, largest + 1, shape, generator=generator) / largest


def close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    scale = float(expected.detach().abs().max()) if expected.numel() else 0.0
    assert torch.allclose(actual.double(), expected, rtol=0, atol=tolerance * scale + 1e-12)


def results(x, weight, bias, stride, padding, gradient=None):
    """Output and the three gradients; those of the input and the bias too."""
    leaves = [tensor.detach().requires_grad_() for tensor in (x, weight, bias)]
    y = spike_conv.conv2d(*leaves, stride, padding)
    return y, *torch.autograd.grad(y, leaves, gradient if gradient is not None else torch.ones_like(y))


def assert_exact(x, weight, bias, stride, padding):
    """Output and gradients are those of the dense convolution in float64."""
    exact = [tensor.double().requires_grad_() for tensor in (x, weight, bias)]
    y = F.conv2d(*exact, stride, padding)
    gradient = torch.randn(y.shape)
    with use_convolution("spike"):
        actual = results(x, weight, bias, stride, padding, gradient)
    close(actual[0], y, 2e-6)
    for one, other in zip(actual[1:], torch.autograd.grad(y, exact, gradient.double()), strict=True):
        close(one, other, 1e-5)


@given(
    sizes=st.tuples(*[st.integers(1, limit) for limit in (3, 20, 40, 17, 19)]),
    kernel=st.tuples(st.sampled_from([1, 2, 3, 5, 7]), st.sampled_from([1, 3, 5])),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    largest=st.sampled_from([1, 4]),
)
def test_any_convolution_equals_the_dense_one_in_float64(sizes, kernel, stride, padding, density, largest):
    N, C, outputs, H, W = sizes
    if H + 2 * padding < kernel[0] or W + 2 * padding < kernel[1]:
        return
    x = spikes(N, C, H, W, density=density, largest=largest)
    weight, bias = torch.randn(outputs, C, *kernel), torch.randn(outputs)
    assert_exact(x, weight, bias, stride, padding)


MORE_THAN_A_BLOCK = {
    "channels": (2, 300, 72, 9, 10),
    "rows": (1, 12, 72, 50, 45),
    "images": (70, 9, 24, 6, 7),
    "lists": (40, 40, 16, 26, 20),
}
KERNELS = [(3, 1), (3, 2), (1, 1), (5, 1)]


@pytest.mark.parametrize("shape", MORE_THAN_A_BLOCK.values(), ids=MORE_THAN_A_BLOCK)
@pytest.mark.parametrize("kernel, stride", KERNELS)
@pytest.mark.parametrize("largest", [1, 4])
def test_blocks_and_tiles_make_up_the_whole(shape, kernel, stride, largest):
    N, C, outputs, H, W = shape
    x, weight = spikes(N, C, H, W, largest=largest), torch.randn(outputs, C, kernel, kernel)
    assert_exact(x, weight, torch.randn(outputs), stride, kernel // 2)


@pytest.mark.parametrize("kernel, stride", KERNELS)
@pytest.mark.parametrize("largest", [1, 4])
@pytest.mark.parametrize("images", [5, 200])
def test_the_number_of_threads_changes_no_bit(images, kernel, stride, largest):
    x, weight, bias = spikes(images, 24, 13, 11, largest=largest), torch.randn(40, 24, kernel, kernel), torch.randn(40)
    gradient = torch.randn_like(F.conv2d(x, weight, bias, stride, kernel // 2))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with use_convolution("spike"):
                found.append(results(x, weight, bias, stride, kernel // 2, gradient))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", [6, 40])
def test_a_weight_that_is_not_finite_meets_zeros_as_in_the_dense_convolution(bad, side):
    x, weight = spikes(2, 8, side, side), torch.randn(8, 8, 3, 3)
    weight[1, 2, 0, 1] = bad
    with use_convolution("spike"):
        y = spike_conv.conv2d(x, weight, None, 1, 1)
    assert torch.equal(y.isnan(), F.conv2d(x, weight, None, 1, 1).isnan())


def test_a_gradient_that_is_not_finite_meets_zeros_as_in_the_dense_convolution():
    x, weight = spikes(2, 8, 6, 6), torch.randn(8, 8, 3, 3, requires_grad=True)
    gradient = torch.randn(2, 8, 6, 6)
    gradient[0, 3, 2, 2] = float("inf")
    with use_convolution("spike"):
        (actual,) = torch.autograd.grad(spike_conv.conv2d(x, weight, None, 1, 1), weight, gradient)
    (expected,) = torch.autograd.grad(F.conv2d(x, weight, None, 1, 1), weight, gradient)
    assert torch.equal(actual.isnan(), expected.isnan())


def test_an_input_that_is_not_finite_reaches_the_outputs_that_see_it():
    x, weight = spikes(1, 8, 6, 6), torch.randn(8, 8, 3, 3)
    x[0, 3, 2, 2] = float("nan")
    with use_convolution("spike"):
        y = spike_conv.conv2d(x, weight, None, 1, 1)
    assert torch.equal(y.isnan(), F.conv2d(x, weight, None, 1, 1).isnan())


@pytest.mark.parametrize(
    "x", [spikes(0, 8, 6, 6), spikes(8, 6, 6, 2).movedim(-1, 0), spikes(1, 8, 6, 6).expand(3, 8, 6, 6)]
)
def test_empty_and_scattered_inputs_are_convolved(x):
    weight = torch.randn(8, 8, 3, 3)
    with use_convolution("spike"):
        close(spike_conv.conv2d(x, weight, None, 1, 1), F.conv2d(x.double(), weight.double(), None, 1, 1), 2e-6)


def skips(x, weight, stride=1, padding=1):
    return compress(x, weight, stride, padding) is not None


WEIGHT = torch.randn(64, 64, 3, 3)


@pytest.mark.parametrize("largest, limit", [*zip([1, 4], LIMITS["3x3"], strict=True)])
def test_zeros_are_skipped_up_to_the_limit_of_density(largest, limit):
    assert skips(spikes(4, 64, 16, 16, density=limit - 0.02, largest=largest), WEIGHT)
    assert not skips(spikes(4, 64, 16, 16, density=limit + 0.02, largest=largest), WEIGHT)


def test_pictures_in_nhwc_do_not_make_the_layers_after_them_dense():
    x = spikes(4, 64, 32, 32)
    given = x.to(memory_format=torch.channels_last)
    layer = SpikeConv2d(64, 64, 3, padding=1)
    y = layer(given)
    assert y.is_contiguous() and torch.equal(y, layer(x))
    y.sum().backward()
    with use_convolution("dense"):
        assert not torch.equal(y, layer(x)), "both were dense, nothing was compared"
    assert channels_last(layer)(given).is_contiguous(memory_format=torch.channels_last), "NHWC that was asked for"


def test_small_convolutions_stay_dense():
    assert not skips(spikes(1, 64, 4, 4), WEIGHT)


@pytest.mark.parametrize("kind, expected", [("auto", True), ("dense", False)])
def test_what_is_asked_for_runs(kind, expected, monkeypatch):
    monkeypatch.setenv("SNN_CONV", kind)
    calls = []
    forward = spike_conv.forward
    monkeypatch.setattr(spike_conv, "forward", lambda *arguments: calls.append(1) or forward(*arguments))
    spike_conv.conv2d(spikes(4, 64, 16, 16), WEIGHT, None, 1, 1)
    assert bool(calls) == expected


def test_an_unknown_kind_is_refused(monkeypatch):
    monkeypatch.setenv("SNN_CONV", "sparse")
    with pytest.raises(UserError, match=r"SNN_CONV.*auto, dense, spike"):
        spike_conv.conv2d(spikes(4, 64, 16, 16), WEIGHT, None, 1, 1)


def test_double_precision_stays_dense():
    x, weight = spikes(4, 64, 16, 16).double(), WEIGHT.double()
    with use_convolution("spike"):
        assert torch.equal(spike_conv.conv2d(x, weight, None, 1, 1), F.conv2d(x, weight, None, 1, 1))


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_summed_in_single_precision(autocast):
    inputs = spikes(4, 64, 16, 16, density=0.2), WEIGHT, torch.randn(64)
    rounded = [tensor.bfloat16().double().requires_grad_() for tensor in inputs]
    expected = F.conv2d(*rounded, 1, 1)
    gradient = torch.randn(expected.shape).bfloat16()
    leaves = [(tensor if autocast else tensor.bfloat16()).clone().requires_grad_() for tensor in inputs]
    with use_convolution("spike"), torch.autocast("cpu", enabled=autocast):
        y = spike_conv.conv2d(*leaves, 1, 1)
    assert y.dtype == torch.bfloat16
    close(y, expected, 2**-8)
    found = torch.autograd.grad(y, leaves, gradient)
    assert [one.dtype for one in found] == [leaf.dtype for leaf in leaves]
    for one, other in zip(found[1:], torch.autograd.grad(expected, rounded[1:], gradient.double()), strict=True):
        close(one, other, 2**-7)
    # The gradient at the input is PyTorch's own, bit for bit; without AVX-512 that rounds its sums on the way.
    x, weight = (tensor.bfloat16().requires_grad_() for tensor in inputs[:2])
    own = torch.autograd.grad(F.conv2d(x, weight, None, 1, 1), x, gradient)[0]
    assert torch.equal(found[0].bfloat16(), own)


def test_bfloat16_has_lower_limits(monkeypatch):
    x = spikes(4, 64, 16, 16, density=0.4)
    few = spikes(4, 64, 16, 16, density=0.2)
    for share in (0.5, 0.0):
        monkeypatch.setattr(kernel_spikes, "BFLOAT16_SHARE", share)
        assert skips(x, WEIGHT)
        assert not skips(x.bfloat16(), WEIGHT.bfloat16())
        assert skips(few.bfloat16(), WEIGHT.bfloat16()) == (share > 0)


@pytest.mark.parametrize("shape", [(40, 33), (3, 5, 7, 33), (1, 33), (0, 33)])
@pytest.mark.parametrize("bias", [None, torch.randn(21)])
def test_linear_layers_skip_zeros_too(shape, bias):
    x, weight, leaves = spikes(*shape), torch.randn(21, 33), []
    for dtype in (torch.float64, torch.float32):
        leaves.append([t if t is None else t.to(dtype).requires_grad_() for t in (x.clone(), weight, bias)])
    with use_convolution("spike"):
        exact, y = (spike_conv.linear(*tensors) for tensors in leaves)
    close(y, exact, 2e-6)
    sums = [
        torch.autograd.grad(y.sin().sum(), [t for t in tensors if t is not None])
        for y, tensors in zip((exact, y), leaves, strict=True)
    ]
    for expected, found in zip(*sums, strict=True):
        close(found, expected, 1e-5)


def test_a_linear_layer_is_dense_above_its_limit_and_when_small(monkeypatch):
    calls = []
    forward = spike_conv.forward
    monkeypatch.setattr(spike_conv, "forward", lambda *arguments: calls.append(1) or forward(*arguments))
    for rows, density in ((256, 0.1), (256, 0.3), (64, 0.1)):
        spike_conv.linear(spikes(rows, 384, density=density), torch.randn(384, 384), None)
    assert len(calls) == 1


def test_a_training_step_keeps_bits_instead_of_spikes():
    x = spikes(4, 64, 16, 16)
    y = spike_conv.conv2d(x, WEIGHT.clone().requires_grad_(), None, 1, 1)
    weight, *kept = (tensor for tensor in y.grad_fn.saved_tensors if tensor is not None)
    assert weight.shape == WEIGHT.shape
    assert sum(tensor.nbytes for tensor in kept) <= x.nbytes / 32 + 7


@pytest.mark.parametrize(
    "layer, shape",
    [
        (SpikeConv2d(16, 24, 3, stride=2, padding=1), (2, 16, 9, 9)),
        (SpikeConv1d(16, 24, 1), (2, 16, 9)),
        (SpikeLinear(16, 24), (2, 9, 16)),
        (TimeConv2d(16, 24, 3, padding=1), (3, 2, 16, 9, 9)),
        (SpikeConv2d(16, 16, 3, padding=1, groups=4), (2, 16, 9, 9)),
        (SpikeConv2d(16, 24, (3, 1), padding=(1, 0)), (2, 16, 9, 9)),
        (SpikeConv2d(16, 24, 3, padding="same"), (2, 16, 9, 9)),
    ],
    ids=str,
)
def test_layers_equal_the_dense_ones_also_when_folded_and_copied(layer, shape):
    x = spikes(*shape)
    layer = layer.eval()
    with torch.no_grad():
        with use_convolution("dense"):
            expected = layer(x).double()
        frozen = fold_for_inference(layer)
        with use_convolution("spike"):
            for one in (layer, frozen, copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
                close(one(x), expected, 2e-6)
    assert layer.state_dict().keys() == frozen.state_dict().keys()


def test_an_exported_layer_is_a_plain_convolution():
    layer = SpikeConv2d(64, 64, 3, padding=1).eval()
    program = torch.export.export(layer, (spikes(4, 64, 16, 16),))
    assert "aten.conv2d" in str(program.graph)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_compiled_layer_skips_zeros_and_has_the_gradients_of_the_layer(backend, autocast, monkeypatch):
    calls = []
    forward = spike_conv.forward
    monkeypatch.setattr(spike_conv, "forward", lambda *arguments: calls.append(1) or forward(*arguments))
    monkeypatch.setattr(kernel_spikes, "BFLOAT16_SHARE", 0.5)
    layer, found = SpikeConv2d(64, 64, 3, padding=1), []
    for run in (layer, torch.compile(layer, backend=backend, fullgraph=True)):
        x = spikes(4, 64, 16, 16).requires_grad_()
        with torch.autocast("cpu", enabled=autocast):
            y = run(x)
        found.append((y, *torch.autograd.grad(y.float().square().sum(), [x, *layer.parameters()])))
    assert len(calls) == 2
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        close(one, other.double(), 2**-6 if autocast else 1e-5)


def test_the_operators_obey_the_rules_of_torch():
    x, weight, bias = spikes(4, 64, 16, 16), WEIGHT.clone(), torch.randn(64)
    for tensor in (x, weight, bias):
        tensor.requires_grad_()
    torch.library.opcheck(torch.ops.spiking_papers.conv2d, (x, weight, bias, 1, 1))


@pytest.mark.parametrize("network", ["torch", "dense"])
def test_a_compiled_layer_is_plain_where_that_is_asked_for(network, monkeypatch):
    monkeypatch.setenv("SNN_BACKEND" if network == "torch" else "SNN_CONV", network)
    graphs = []
    compiled = torch.compile(SpikeConv2d(8, 8, 3), backend=lambda graph, _: graphs.append(graph.code) or graph)
    compiled(spikes(2, 8, 6, 6))
    assert "spiking_papers" not in graphs[0]


@pytest.mark.parametrize("share, ours", [(0.0, False), (0.5, True)])
def test_a_compiled_layer_is_plain_in_a_precision_that_is_always_dense(share, ours, monkeypatch):
    monkeypatch.setattr(kernel_spikes, "BFLOAT16_SHARE", share)
    graphs = []
    layer = SpikeConv2d(8, 8, 3).bfloat16()
    compiled = torch.compile(layer, backend=lambda graph, _: graphs.append(graph.code) or graph)
    compiled(spikes(2, 8, 6, 6).bfloat16())
    assert ("spiking_papers" in graphs[0]) == ours
