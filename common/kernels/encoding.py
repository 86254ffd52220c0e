"""The parameters of a neuron as the numbers that compiled kernels take; `cpp/neuron.h` is the other side of this table.

A variant is two codes, which choose among compiled functions, and `CONSTANTS`, which they compute with. Whatever a
coefficient can express is one: a spike resets h to keep h + level, a tie fires where the bound lies just below the
threshold (backends move it there in their own precision), and the ReLU of a graded output is its floor.
"""

import math

from common.kernels.parameters import IntegerParameters, LIFParameters
from common.kernels.surrogate import ATan, Rectangle, Sigmoid, Surrogate, Triangle

CONSTANTS = (
    "tau inverse_tau decay beta threshold bound keep level shift floor height width to_input to_state top norm".split()
)
_SURROGATES = (ATan, Sigmoid, Rectangle, Triangle)
_LEAKY_DIVIDE, _LEAKY_MULTIPLY, _DECAY, _CHARGES = range(4)
_INTEGER_FORWARD, _INTEGER_BACKWARD = 2 * _CHARGES, 4 * len(_SURROGATES)

Encoded = tuple[int, int, list[float]]
"""Forward code, backward code, constants."""


def encode_lif(p: LIFParameters) -> Encoded:
    """Codes and constants of a LIF neuron."""
    if p.charge == "decay":
        charge = _DECAY
    else:  # multiplying by the inverse rounds as dividing does only where the inverse is exact
        charge = _LEAKY_MULTIPLY if math.frexp(p.tau)[0] == 0.5 else _LEAKY_DIVIDE
    graded = p.output != "spike"
    height, width = _height_and_width(p.surrogate)
    constants = _constants(
        tau=p.tau,
        inverse_tau=1 / p.tau,
        decay=p.decay,
        beta=p.beta,
        threshold=p.threshold,
        bound=p.threshold if p.strict else math.nextafter(p.threshold, -math.inf),
        keep=1.0 if p.reset == "soft" else 0.0,
        level={"hard": 0.0, "threshold": p.threshold, "soft": -p.threshold}[p.reset],
        shift=p.threshold if p.relative else 0.0,
        floor=0.0 if p.output == "relu" else -math.inf,
        height=height,
        width=width,
        to_input=1 / p.tau if p.charge == "leaky" else 1.0,
        to_state=1 - 1 / p.tau if p.charge == "leaky" else p.decay,
    )
    backward = _SURROGATES.index(type(p.surrogate)) + 4 * p.detach_reset + 8 * graded
    return charge + _CHARGES * graded, backward, constants


def fires(forward: int) -> bool:
    """Whether the output of the neuron of this forward code is 0 or 1."""
    return forward < _CHARGES


def encode_integer(p: IntegerParameters) -> Encoded:
    """Codes and constants of an integer neuron."""
    half_up = p.rounding == "half_up"
    return _INTEGER_FORWARD + half_up, _INTEGER_BACKWARD + p.open_window, _constants(top=p.max_value, norm=p.norm)


def _constants(**values: float) -> list[float]:
    return [float(values.get(name, 0.0)) for name in CONSTANTS]


def _height_and_width(surrogate: Surrogate) -> tuple[float, float]:
    """The two numbers that a kernel computes the surrogate with."""
    if isinstance(surrogate, ATan):
        return surrogate.alpha / 2, math.pi / 2 * surrogate.alpha
    if isinstance(surrogate, Sigmoid):
        return surrogate.alpha, surrogate.alpha
    if isinstance(surrogate, Rectangle):
        return 1 / (2 * surrogate.half_width), surrogate.half_width
    return 1 / surrogate.gamma**2, surrogate.gamma
