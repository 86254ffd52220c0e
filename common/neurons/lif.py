"""LIF neurons as modules: no parameters, no buffers, no state between calls."""

from dataclasses import fields
from typing import Literal

from torch import Tensor, nn

from common.kernels import LIFParameters, multi_step_lif
from common.kernels.surrogate import ATan, Rectangle, Surrogate


class MultiStepNode(nn.Module):
    """Applies the multi-step operation of `parameters` along `time_dim` of its input."""

    def __init__(self, parameters: LIFParameters, time_dim: int):
        super().__init__()
        self.constants = parameters
        self.time_dim = time_dim

    def forward(self, x: Tensor) -> Tensor:
        return multi_step_lif(x, self.constants, self.time_dim)

    def extra_repr(self) -> str:
        changed = [f for f in fields(LIFParameters) if getattr(self.constants, f.name) != f.default]
        shown = [f"{f.name}={getattr(self.constants, f.name)}" for f in changed]
        return ", ".join([*shown, f"time_dim={self.time_dim}"])


class LIFNode(MultiStepNode):
    """Leaky integrate-and-fire: h = v + (x - v)/tau, fires at h >= threshold, resets to 0; `[T, B, ...]` by default.

    The neuron of SMA-VGG8 (tau 2, ATan) and, with a sigmoid surrogate, of Spikingformer (tau 2, 1.75 or 1.5).
    """

    def __init__(
        self,
        tau: float = 2.0,
        threshold: float = 1.0,
        *,
        reset: Literal["hard", "soft"] = "hard",
        detach_reset: bool = True,
        surrogate: Surrogate = ATan(),
        time_dim: int = 0,
    ):
        super().__init__(
            LIFParameters(tau=tau, threshold=threshold, reset=reset, detach_reset=detach_reset, surrogate=surrogate),
            time_dim,
        )


class DecayLIFNode(MultiStepNode):
    """Leaky integrate-and-fire with unscaled input: h = decay v + x, fires at h > threshold, resets to 0.

    `[T, B, ...]` by default. GAC's CIFAR networks: decay 0.5, threshold 1, triangle surrogate, reset not detached.
    """

    def __init__(
        self,
        decay: float,
        threshold: float,
        *,
        surrogate: Surrogate,
        detach_reset: bool = True,
        time_dim: int = 0,
    ):
        parameters = LIFParameters(
            charge="decay",
            decay=decay,
            threshold=threshold,
            strict=True,
            detach_reset=detach_reset,
            surrogate=surrogate,
        )
        super().__init__(parameters, time_dim)


class MSLIFNode(DecayLIFNode):
    """`mem_update`, the neuron of every MS-ResNet: decay 0.25, threshold 0.5, rectangle of width 1; `[T, B, ...]`."""

    def __init__(self, time_dim: int = 0):
        super().__init__(decay=0.25, threshold=0.5, surrogate=Rectangle(0.5), time_dim=time_dim)
