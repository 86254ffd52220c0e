"""The gradient at the input of a convolution equals the dense one in float64, whichever way it is computed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.kernels import input_gradient as gradients
from common.kernels import use_convolution
from common.kernels.input_gradient import AT_INPUT, dense_gradient, input_gradient
from common.kernels.spikes import refusal

pytestmark = pytest.mark.skipif(bool(refusal()), reason=f"the kernels do not run: {refusal()}")


def dense(gradient, shape, weight):
    x = gradient.new_empty(shape)
    return dense_gradient(AT_INPUT, gradient, x, weight, 1, 1)


def assert_exact(N, C, outputs, H, W):
    gradient, weight = torch.randn(N, outputs, H, W), torch.randn(outputs, C, 3, 3)
    expected = dense(gradient.double(), (N, C, H, W), weight.double())
    actual = input_gradient(gradient, torch.Size((N, C, H, W)), weight, 1, 1)
    tolerance = 2e-6 * float(expected.abs().max())
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=tolerance)


@given(st.tuples(*[st.integers(1, limit) for limit in (5, 70, 40, 12, 13)]))
def test_tiles_of_any_image_and_number_of_channels_make_up_the_whole(sizes):
    with use_convolution("spike"):
        assert_exact(*sizes)


@pytest.mark.parametrize("sizes", [(9, 40, 300, 6, 8), (2, 33, 40, 90, 63), (1, 5, 700, 20, 9)])
def test_images_and_rows_make_up_the_whole(sizes):
    with use_convolution("spike"):
        assert_exact(*sizes)


@pytest.mark.parametrize(
    "gradient, weight, expected",
    [
        ((16, 64, 8, 8), (64, 32, 3, 3), True),
        ((16, 64, 7, 7), (64, 32, 3, 3), False),
        ((1, 512, 8, 8), (512, 512, 3, 3), False),
        ((16, 16, 8, 8), (16, 64, 3, 3), False),
        ((16, 64, 8, 8), (64, 64, 5, 5), False),
        ((16, 64, 2, 2), (64, 64, 3, 3), False),
    ],
)
def test_winograd_runs_where_it_pays(gradient, weight, expected, monkeypatch):
    called, winograd = [], gradients._winograd
    monkeypatch.setattr(gradients, "_winograd", lambda *given: called.append(True) or winograd(*given))
    padding = weight[2] // 2
    shape = torch.Size((gradient[0], weight[1], *gradient[2:]))
    input_gradient(torch.randn(gradient), shape, torch.randn(weight), 1, padding)
    assert bool(called) == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["gradient", "weight"])
def test_what_is_not_finite_reaches_the_pixels_that_it_reaches_in_the_dense_one(where, bad):
    gradient, weight = torch.randn(4, 32, 8, 8), torch.randn(32, 32, 3, 3)
    {"gradient": gradient, "weight": weight}[where][1, 2, 0, 1] = bad
    actual = input_gradient(gradient, torch.Size((4, 32, 8, 8)), weight, 1, 1)
    assert torch.equal(actual.isfinite(), dense(gradient, (4, 32, 8, 8), weight).isfinite())
    assert not actual.isfinite().all()


def test_no_images_have_no_gradient():
    assert (
        input_gradient(torch.zeros(0, 32, 8, 8), torch.Size((0, 32, 8, 8)), torch.ones(32, 32, 3, 3), 1, 1).numel() == 0
    )
