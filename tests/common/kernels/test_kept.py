"""What is kept for a backward pass is small, and the gradients are those of the layers of PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

from common.kernels import input_gradient, kept, memory, spike_conv
from common.kernels import spikes as kernel_spikes
from common.kernels.kept import max_pool2d, spikes_as_bits
from common.kernels.recomputed import norm_output
from common.kernels.spikes import binary, refusal
from common.layers import TimeConv2d, spiking_attention

with_kernels = pytest.mark.skipif(bool(refusal()), reason=f"zeros are not skipped: {refusal()}")


def spikes(*shape, density=0.6):
    return (torch.rand(shape) < density).float()


def gradients(work, *inputs):
    """Output of `work` and its gradients at the inputs."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    y = work(*inputs)
    return y, *torch.autograd.grad((y * torch.arange(y.numel()).view(y.shape).cos()).sum(), inputs)


def kept_bytes(work):
    """What autograd keeps of `work` in tensors of its own functions."""
    found = {}

    def pack(x):
        found[x.data_ptr()] = x.nbytes
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        work()
    return sum(found.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("geometry", [(2, 2, 0), (3, 2, 1)])
@pytest.mark.parametrize("shape", [(2, 3, 9, 7), (1, 1, 2, 2), (3, 1, 200, 200), (0, 3, 8, 8)])
def test_max_pooling_has_the_gradients_of_pytorch(shape, geometry, layout, dtype):
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=layout).round(decimals=1)
    for ours, theirs in zip(
        gradients(lambda x: max_pool2d(x, *geometry), x),
        gradients(lambda x: F.max_pool2d(x, *geometry), x),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 8), (9, 16)])
@pytest.mark.parametrize("geometry", [(1, 1, 0), (2, 2, 0), (2, 3, 1), (3, 2, 1), (3, 1, 1), (5, 2, 2), (5, 3, 0)])
def test_max_pooling_without_gradients_is_that_of_pytorch(geometry, size):
    if min(size) + 2 * geometry[2] < geometry[0]:
        return
    x = torch.randn(2, 3, *size)
    x[0, 0, 0, 0], x[0, 1, 0, 0], x[1, 2] = torch.nan, torch.inf, -torch.inf
    for given in (x, x.double(), x.bfloat16(), x.to(memory_format=torch.channels_last), x.mT):
        torch.testing.assert_close(
            max_pool2d(given, *geometry), F.max_pool2d(given, *geometry), rtol=0, atol=0, equal_nan=True
        )


def test_max_pooling_keeps_two_bytes_for_each_output():
    x = torch.randn(4, 8, 32, 32, requires_grad=True)
    assert kept_bytes(lambda: max_pool2d(x, 2, 2)) == 2 * 4 * 8 * 16 * 16


@with_kernels
@pytest.mark.parametrize("tokens", [16, 100])
def test_attention_of_spikes_has_the_same_gradients_and_keeps_bits(tokens, monkeypatch):
    packed = []
    monkeypatch.setattr(kept, "binary", lambda x: packed.append(binary(x)) or packed[-1])
    q, k, v = (spikes(4, 8, tokens, 32) for _ in range(3))
    ours = gradients(lambda *qkv: spiking_attention(*qkv, 0.125), q, k, v)
    for one, other in zip(ours, gradients(lambda q, k, v: q @ k.mT @ v * 0.125, q, k, v), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-5)
    assert [x.bits.nbytes for x in packed if x is not None] == [q.numel() // 8 + 7] * 3  # kernels read them by eight


@with_kernels
@pytest.mark.parametrize("number", [0.5, 2.0, float("nan")])
def test_other_numbers_are_kept_as_they_are(number):
    x = spikes(100, 100)
    x[7, 93] = number
    weight = torch.randn(100, 100, requires_grad=True)
    with spikes_as_bits():
        y = x @ weight
    gradient = torch.randn(100, 100)
    assert torch.equal(torch.autograd.grad(y, weight, gradient)[0].nan_to_num(), (x.mT @ gradient).nan_to_num())


@with_kernels
@pytest.mark.parametrize("stride, kernel", [(1, 3), (2, 3), (2, 1)])
def test_a_dense_convolution_of_spikes_keeps_bits_and_works_through_slices(stride, kernel, monkeypatch):
    monkeypatch.setattr(input_gradient, "SLICE", 100_000)
    monkeypatch.setattr(kernel_spikes, "FEWEST_PRODUCTS", 0)
    x, weight, bias = spikes(7, 16, 21, 23, density=0.9), torch.randn(24, 16, kernel, kernel), torch.randn(24)
    ours = gradients(lambda *given: spike_conv.conv2d(*given, stride, kernel // 2), x, weight, bias)
    theirs = gradients(lambda *given: F.conv2d(*given, stride, kernel // 2), x, weight, bias)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-3)
    weight.requires_grad_()
    size = kept_bytes(lambda: spike_conv.conv2d(x, weight, None, stride, kernel // 2))
    assert size <= weight.nbytes + x.numel() / 8 * 24 / 23 + 100


def test_copies_of_an_image_are_convolved_once(monkeypatch):
    conv = TimeConv2d(4, 8, 3, padding=1, bias=False).double()
    image = torch.randn(1, 2, 4, 6, 6, dtype=torch.float64)
    once = gradients(lambda x: conv(x.expand(5, -1, -1, -1, -1)), image)
    every = gradients(lambda x: conv(x.repeat(5, 1, 1, 1, 1)), image)
    for one, other in zip(once, every, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert once[0].stride(0) == 0


def test_a_norm_that_is_expanded_to_more_steps_is_not_computed_again():
    norm = torch.nn.BatchNorm2d(3)
    x = norm(torch.randn(4, 3, 2, 2, requires_grad=True))
    assert norm_output(x.expand(4, 3, 2, 2)) is not None
    assert norm_output(x.unsqueeze(0).expand(2, 4, 3, 2, 2)) is None


@with_kernels
def test_small_tensors_are_kept_as_they_are(monkeypatch):
    x, norm = spikes(4, 16, 16, 16), torch.nn.BatchNorm2d(16)
    for size, smaller in ((x.nbytes, True), (x.nbytes + 1, False)):
        monkeypatch.setattr(memory, "SMALL", size)
        assert (binary(x) is not None) == (norm_output(norm(x)) is not None) == smaller
