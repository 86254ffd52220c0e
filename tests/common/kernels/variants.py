"""Every variant of the neurons, and inputs on which they differ: exact ties, clamp edges and both signs."""

from itertools import product

import torch

from common.kernels import IntegerParameters, LIFParameters
from common.kernels.surrogate import ATan, Rectangle, Sigmoid, Triangle

SURROGATES = (ATan(2.0), Sigmoid(4.0), Rectangle(0.25), Triangle(0.7))
CHARGES = (
    {"charge": "leaky", "tau": 2.0},
    {"charge": "leaky", "tau": 1.75},
    {"charge": "decay", "decay": 0.3, "beta": 0.1},
)
OUTPUTS = (
    {"output": "spike"},
    *({"output": o, "relative": r} for o in ("relu", "linear") for r in (False, True)),
)


def lif_variants(surrogate) -> list[LIFParameters]:
    """Every combination of the other choices."""
    choices = product(CHARGES, OUTPUTS, ("hard", "threshold", "soft"), (False, True), (False, True))
    common = {"surrogate": surrogate, "threshold": 0.75}
    return [
        LIFParameters(**charge, **out, **common, reset=reset, strict=strict, detach_reset=detach)
        for charge, out, reset, strict, detach in choices
    ]


INTEGERS = [
    IntegerParameters(top, norm, rounding, window)
    for (top, norm), rounding, window in product(
        ((4, 4.0), (8, 1.0), (3, 3.0)), ("half_even", "half_up"), (False, True)
    )
]


def current(shape, dtype=torch.float32, seed=0) -> torch.Tensor:
    """Normal numbers, every other one rounded to a multiple of 1/4 so that thresholds and k + 0.5 are met exactly."""
    x = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    flat = x.view(-1)
    flat[::2] = (flat[::2] * 4).round() / 4
    return x.to(dtype)


def forward_backward(operation, x: torch.Tensor, *arguments):
    """Output, and the gradient at x for a fixed random gradient at the output."""
    x = x.detach().requires_grad_()
    y = operation(x, *arguments)
    cotangent = current(y.shape, y.dtype, seed=1)
    (gradient,) = torch.autograd.grad(y, x, cotangent)
    return y.detach(), gradient


ROUNDING = {  # what a gradient may differ by: some units in the last place of the storage
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.bfloat16: {"rtol": 2**-7, "atol": 1e-3},
    torch.float16: {"rtol": 2**-10, "atol": 1e-4},
}
