"""The LIF and LIAF cells of MA-SNN (TPAMI 2023), whose reset clamps the membrane to the threshold."""

from typing import Literal

from common.kernels import LIFParameters
from common.kernels.surrogate import Rectangle
from common.neurons.lif import MultiStepNode


class ThresholdResetLIFNode(MultiStepNode):
    """u = h + x, s = [u >= Vth], h = alpha (s Vth + (1 - s) u) + beta, output s; `[B, T, ...]` by default."""

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.0,
        threshold: float = 0.3,
        *,
        surrogate: Rectangle = Rectangle(0.25),
        time_dim: int = 1,
        output: Literal["spike", "relu", "linear"] = "spike",
        relative: bool = False,
    ):
        parameters = LIFParameters(
            charge="decay",
            decay=alpha,
            beta=beta,
            threshold=threshold,
            reset="threshold",
            detach_reset=False,
            surrogate=surrogate,
            output=output,
            relative=relative,
        )
        super().__init__(parameters, time_dim)


class LIAFNode(ThresholdResetLIFNode):
    """Leaky integrate-and-analog-fire: the state of `ThresholdResetLIFNode`, but the graded output act(u).

    `threshold_related` outputs act(u - Vth) instead (`TR_model = "TR"` in the original); `activation` None is identity.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.0,
        threshold: float = 0.3,
        *,
        surrogate: Rectangle = Rectangle(0.25),
        time_dim: int = 1,
        activation: Literal["relu"] | None = "relu",
        threshold_related: bool = False,
    ):
        super().__init__(
            alpha,
            beta,
            threshold,
            surrogate=surrogate,
            time_dim=time_dim,
            output=activation or "linear",
            relative=threshold_related,
        )
