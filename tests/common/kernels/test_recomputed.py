"""A neuron behind a batch norm keeps nothing of its own, and its gradients are the same bit for bit."""

import pytest
import torch
from torch import nn

from common.kernels import cpu, operators
from common.kernels.recomputed import norm_output
from common.neurons import LIFNode, MSLIFNode

pytestmark = pytest.mark.skipif(
    bool(reason := cpu.refusal("cpu", torch.float32)), reason=f"no compiled neurons: {reason}"
)


def normed(shape, *, channels_last=False, **settings):
    """A batch norm with weights of its own and its output for images, steps of one row, or rows."""
    norm = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](shape[1], **settings)
    u = torch.randn(shape).mul(3).add(1)
    if channels_last:
        u = u.contiguous(memory_format=torch.channels_last)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm, norm(u.requires_grad_())


SHAPES = [(24, 64, 8, 8), (12, 5, 3, 3), (16, 32, 9), (40, 96)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_output_is_computed_again(shape, channels_last):
    if channels_last and len(shape) != 4:
        return
    norm, x = normed(shape, channels_last=channels_last)
    again = norm_output(x).again(norm.bias.detach())
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        assert torch.equal(again, x)
    else:
        torch.testing.assert_close(again, x)


@pytest.mark.parametrize("neuron", [LIFNode(), MSLIFNode()])
def test_the_gradients_are_those_of_a_neuron_that_keeps_its_input(neuron, monkeypatch):
    found = []
    for recipe in (norm_output, lambda x: None):
        monkeypatch.setattr(operators, "norm_output", recipe)
        torch.manual_seed(0)
        norm, x = normed((24, 16, 4, 4))
        y = neuron(x.unflatten(0, (4, 6)))
        kept = sum(tensor.nbytes for tensor in y.grad_fn.saved_tensors)
        found.append((kept, *torch.autograd.grad(y.sin().sum(), [x, *norm.parameters()])))
    (small, *ours), (large, *theirs) = found
    assert (small, large) == (norm.bias.nbytes, x.nbytes)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(4, 3),
        torch.randn(4, 3, requires_grad=True),
        normed((4, 3))[1] + 1,
        normed((4, 3))[1].t(),
        normed((4, 3), affine=False)[1],
        normed((4, 3))[0].eval()(torch.randn(4, 3)),
        normed((4, 3))[0].double()(torch.randn(4, 3, dtype=torch.float64)),
    ],
    ids=["no graph", "leaf", "sum", "transposed", "no weight", "evaluation", "float64"],
)
def test_anything_else_is_kept(x):
    assert norm_output(x) is None


def test_a_bias_that_changes_before_the_backward_pass_is_noticed():
    norm, x = normed((8, 3))
    y = LIFNode()(x.unsqueeze(0))
    with torch.no_grad():
        norm.bias.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
