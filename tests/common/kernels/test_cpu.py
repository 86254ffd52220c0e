"""The C++ neurons equal the reference: outputs bit for bit, gradients up to rounding, in every memory layout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.kernels import IntegerParameters, LIFParameters, cpu, integer_if, multi_step_lif, use
from common.kernels.surrogate import ATan, Sigmoid
from tests.common.kernels.variants import INTEGERS, ROUNDING, SURROGATES, current, forward_backward, lif_variants

pytestmark = pytest.mark.skipif(
    bool(cpu.refusal("cpu", torch.float32)), reason=f"no CPU backend: {cpu.refusal('cpu', torch.float32)}"
)
SERVED = [dtype for dtype in ROUNDING if not cpu.refusal("cpu", dtype)]  # float16 needs an instruction of its own
every_dtype = pytest.mark.parametrize("dtype", SERVED, ids=str)


def both(operation, x, *arguments):
    """(output, gradient) of the reference and of the CPU backend."""
    with use("torch"):
        expected = forward_backward(operation, x, *arguments)
    with use("cpu"):
        return expected, forward_backward(operation, x, *arguments)


def assert_same(operation, x, *arguments):
    (expected, expected_gradient), (output, gradient) = both(operation, x, *arguments)
    assert torch.equal(output, expected), arguments
    torch.testing.assert_close(gradient, expected_gradient, **ROUNDING[x.dtype], msg=lambda m: f"{arguments}: {m}")


@every_dtype
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: type(s).__name__)
def test_every_lif_variant(surrogate, dtype):
    x = current((5, 3, 29), dtype)
    for parameters in lif_variants(surrogate):
        assert_same(multi_step_lif, x, parameters)


@every_dtype
@pytest.mark.parametrize("time_dim", [None, 0, 1])
@pytest.mark.parametrize("parameters", INTEGERS, ids=str)
def test_every_integer_variant(parameters, time_dim, dtype):
    assert_same(integer_if, current((5, 3, 29), dtype), parameters, time_dim)


LAYOUTS = {
    "time first": (lambda: current((5, 2, 3, 4, 6)), 0),
    "time second": (lambda: current((2, 5, 3, 4, 6)), 1),
    "time last": (lambda: current((2, 3, 70, 5)), -1),
    "only time": (lambda: current((5,)), 0),
    "channels_last": (lambda: current((10, 3, 8, 8)).to(memory_format=torch.channels_last).unflatten(0, (5, 2)), 0),
    "channels_last, time second": (
        lambda: current((10, 3, 8, 8)).to(memory_format=torch.channels_last).unflatten(0, (2, 5)),
        1,
    ),
    "transposed": (lambda: current((7, 5, 40)).transpose(0, 1), 0),
    "every other column": (lambda: current((5, 3, 140))[..., ::2], 0),
    "offset": (lambda: current((5, 301))[1:, 3:], 0),
    "expanded over time": (lambda: current((1, 3, 70)).expand(5, 3, 70), 0),
    "one step": (lambda: current((1, 3, 70)), 0),
    "one step of one neuron": (lambda: current((1, 1)), 0),
    "empty batch": (lambda: current((5, 0, 3)), 0),
    "many steps": (lambda: current((200, 3, 5)), 0),
}


@pytest.mark.parametrize("build, time_dim", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout(build, time_dim):
    assert_same(multi_step_lif, build(), LIFParameters(tau=1.5, detach_reset=False), time_dim)


@pytest.mark.parametrize("build, time_dim", LAYOUTS.values(), ids=LAYOUTS)
def test_output_has_the_memory_order_of_empty_like(build, time_dim):
    x = build()
    with use("cpu"):
        assert multi_step_lif(x, LIFParameters(), time_dim).stride() == torch.empty_like(x).stride()


@every_dtype
@pytest.mark.parametrize("inner", [1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 257])
def test_blocks_that_end_before_at_and_after_a_chunk(inner, dtype):
    assert_same(multi_step_lif, current((3, 5, inner), dtype), LIFParameters(), 1)


@settings(max_examples=150)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=3), st.data())
def test_any_shape(shape, data):
    x = current([min(n, 70 // len(shape)) for n in shape])
    order = data.draw(st.permutations(range(x.dim())))
    time_dim = data.draw(st.integers(0, x.dim() - 1))
    assert_same(multi_step_lif, x.permute(order), LIFParameters(detach_reset=False), time_dim)


@every_dtype
def test_outputs_that_are_streamed_past_the_caches(dtype):
    x = current((3, 768, 1024), dtype)
    assert_same(multi_step_lif, x, LIFParameters())


def test_result_does_not_depend_on_the_number_of_threads():
    x, threads = current((4, 64, 1030)), torch.get_num_threads()
    try:
        results = [torch.set_num_threads(n) or forward_backward(multi_step_lif, x, LIFParameters()) for n in (1, 3)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, three) for one, three in zip(*results, strict=True))


@every_dtype
@pytest.mark.parametrize("reset", ["hard", "threshold", "soft"])
def test_infinities_and_nan_pass_as_in_the_reference(reset, dtype):
    x = current((3, 70), dtype)
    x[0, :4] = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0])
    for output in ("spike", "relu", "linear"):
        (expected, _), (outputs, _) = both(multi_step_lif, x, LIFParameters(reset=reset, output=output))
        torch.testing.assert_close(outputs, expected, rtol=0, atol=0, equal_nan=True)


def test_integer_neuron_passes_nan():
    with use("cpu"):
        assert integer_if(torch.full((3,), torch.nan), IntegerParameters()).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sigmoid_surrogate_is_accurate_and_vanishes_far_from_the_threshold(dtype):
    x = torch.cat([torch.linspace(-30, 30, 4001), torch.tensor([-1e6, 1e6])])[None].to(dtype)
    with use("cpu"):
        _, gradient = forward_backward(lambda x: multi_step_lif(x, LIFParameters(surrogate=Sigmoid(4.0), tau=1.0)), x)
    z = x.double() - 1
    exact = 4 * torch.sigmoid(4 * z.abs()) * torch.sigmoid(-4 * z.abs()) * current(x.shape, dtype, seed=1)
    rounding_of_z = 4 * 30 * torch.finfo(dtype).eps
    torch.testing.assert_close(gradient.double(), exact, rtol=rounding_of_z, atol=1e-30)


@every_dtype
def test_gradient_overflow_is_visible_to_a_loss_scaler(dtype):
    x = current((2, 70), dtype).requires_grad_()
    with use("cpu"):
        multi_step_lif(x, LIFParameters(surrogate=ATan())).backward(torch.full_like(x, torch.nan))
    assert x.grad.isnan().all()


def test_a_view_that_negates_is_read_as_what_it_shows():
    x = torch.randn(4, 33)
    view = torch._neg_view(x)
    assert view.is_neg()
    assert_same(multi_step_lif, view, LIFParameters())
    gradient = torch._neg_view(torch.randn(4, 33))
    found = []
    for name in ("torch", "cpu"):
        leaf = x.clone().requires_grad_()
        with use(name):
            found += torch.autograd.grad(multi_step_lif(leaf, LIFParameters()), leaf, gradient)
    torch.testing.assert_close(*found)
