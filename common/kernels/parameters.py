"""What a neuron computes, as numbers: the parameters that every backend receives."""

from dataclasses import dataclass
from typing import Literal

from common.kernels.surrogate import ATan, Surrogate


@dataclass(frozen=True)
class LIFParameters:
    """One multi-step leaky integrate-and-fire neuron, h the membrane potential before and v after the reset.

    charge "leaky"  h_t = v_{t-1} + (x_t - v_{t-1}) / tau
    charge "decay"  h_t = (decay * v_{t-1} + beta) + x_t, where the bracket is 0 at the first step
    fire            s_t = 1 if h_t - threshold >= 0 (`strict`: > 0) else 0
    reset "hard"    v_t = (1 - s_t) h_t
    reset "threshold"  v_t = s_t threshold + (1 - s_t) h_t
    reset "soft"    v_t = h_t - s_t threshold
    output "spike"  s_t;  "relu"  max(0, u_t);  "linear"  u_t,  with u_t = h_t, or h_t - threshold if `relative`

    The state starts at 0 and none is kept between calls. `detach_reset` stops the gradient at the spike of the reset.
    """

    charge: Literal["leaky", "decay"] = "leaky"
    tau: float = 2.0
    decay: float = 1.0
    beta: float = 0.0
    threshold: float = 1.0
    strict: bool = False
    reset: Literal["hard", "threshold", "soft"] = "hard"
    detach_reset: bool = True
    surrogate: Surrogate = ATan()
    output: Literal["spike", "relu", "linear"] = "spike"
    relative: bool = False

    def __post_init__(self):
        if self.charge == "leaky" and self.tau < 1:
            raise ValueError(f"tau must be at least 1 (a smaller one overshoots the input), got {self.tau}")


@dataclass(frozen=True)
class IntegerParameters:
    """One integer neuron of spike firing approximation (SDT V3, TPAMI 2025, section 3).

    v_t = v_{t-1} + x_t;  n_t = round(clamp(v_t, 0, max_value));  output n_t / norm;  v_t <- v_t - n_t

    rounding "half_even" sends 0.5 to 0 and 1.5 to 2, "half_up" sends 0.5 to 1. The straight-through gradient dn/dv is 1
    inside the clamp window, which is open or closed, and 0 outside; the soft reset is not detached.
    """

    max_value: int = 4
    norm: float = 4.0
    rounding: Literal["half_even", "half_up"] = "half_even"
    open_window: bool = False

    def __post_init__(self):
        if self.max_value < 1:
            raise ValueError(f"max_value must be at least 1, got {self.max_value}")
