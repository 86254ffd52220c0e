"""Suite `conv`: one convolution of spikes, by how many inputs are not 0.

| variant              | forward                                   | weight gradient             | input gradient      |
|----------------------|-------------------------------------------|-----------------------------|---------------------|
| ours                 | finds spikes, packs the weights, and adds | adds, from the forward bits | dense, by its shape |
| dense                | `F.conv2d`                                | of `F.conv2d`               | the same            |
| dense, channels_last | the same, all in NHWC                     | the same                    | the same            |
| dense, compiled      | `torch.compile` of `F.conv2d`             |                             |                     |

"ours" skips zeros at every density here; in networks it gives way to "dense" above the limits of `kernels.spikes`. The
input gradient has none to skip, and is measured at one density.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from common.errors import UserError
from common.kernels import spike_conv, spikes, use_convolution
from common.kernels.input_gradient import AT_INPUT, AT_WEIGHT, dense_gradient, input_gradient
from tools.benchmarks import measure
from tools.benchmarks.measure import Row, Setting, Variant

SETTINGS = (Setting(1, True), Setting(2, True))
TYPICAL = 0.1
DENSITIES = {Setting(1, True): (0.02, 0.05, TYPICAL, 0.2, 0.3, 0.5), Setting(2, True): (TYPICAL,)}


@cache
def compiled() -> Callable[..., Tensor]:
    """The compiled convolution, once for all densities of a layer."""
    return torch.compile(F.conv2d)


@dataclass(frozen=True)
class Case:
    """A layer of a published network."""

    channels: int
    outputs: int
    side: int
    """Of the input, in pixels."""
    kernel: int = 3
    stride: int = 1
    images: int = 16
    """Of all time steps together."""


CASES = {
    "3x3, 64 to 64, 56 px": Case(64, 64, 56, images=12),
    "3x3, 128 to 128, 32 px": Case(128, 128, 32),
    "3x3, 256 to 256, 14 px": Case(256, 256, 14),
    "3x3, 512 to 512, 7 px": Case(512, 512, 7, images=24),
    "3x3 stride 2, 128 to 256, 32 px": Case(128, 256, 32, stride=2),
    "1x1, 384 to 1536, 8 px": Case(384, 1536, 8, kernel=1),
    "5x5, 64 to 64, 24 px": Case(64, 64, 24, kernel=5),
}
QUICK = {name: Case(8, 8, 8, case.kernel, case.stride, 2) for name, case in list(CASES.items())[:1]}


def data(case: Case, density: float) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, weights, and the gradient at the output."""
    torch.manual_seed(0)
    x = (torch.rand(case.images, case.channels, case.side, case.side) < density).float()
    weight = torch.randn(case.outputs, case.channels, case.kernel, case.kernel) * 0.05
    return x, weight, torch.randn_like(F.conv2d(x, weight, None, case.stride, case.kernel // 2))


def variants(case: Case, density: float, *, quick: bool) -> Iterator[dict[str, Variant]]:
    """The forward passes, then the weight gradients, then at the typical density the input gradients.

    Raises:
        UserError: nothing was compiled at install, or the results differ; nothing is timed then.
    """
    if reason := spikes.refusal():
        raise UserError(f"zeros are not skipped here: {reason}")
    x, weight, gradient = data(case, density)
    padding = case.kernel // 2
    nhwc = [tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight, gradient)]
    with use_convolution("spike"):
        seen = spikes.compress(x, weight, case.stride, padding)
    works = {
        "ours": lambda: spike_conv.conv2d(x, weight, None, case.stride, padding),
        "dense": lambda: F.conv2d(x, weight, None, case.stride, padding),
        "dense, channels_last": lambda: F.conv2d(*nhwc[:2], None, case.stride, padding),
    }
    if not quick:
        works["dense, compiled"] = lambda: compiled()(x, weight, None, case.stride, padding)

    def dense(place: int, x: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
        return dense_gradient(place, gradient, x, weight, case.stride, padding)

    gradients = {
        "ours": lambda: spikes.weight_gradient(seen, gradient),
        "dense": lambda: dense(AT_WEIGHT, x, weight, gradient),
        "dense, channels_last": lambda: dense(AT_WEIGHT, *nhwc),
    }

    def as_in_networks() -> Tensor:
        with use_convolution("auto"):
            return input_gradient(gradient, x.shape, weight, case.stride, padding)

    input_gradients = {
        "ours": as_in_networks,
        "dense": lambda: dense(AT_INPUT, x, weight, gradient),
        "dense, channels_last": lambda: dense(AT_INPUT, *nhwc),
    }
    measures = {"forward": works, "weight gradient": gradients}
    if density == TYPICAL:
        measures["input gradient"] = input_gradients
    for measured, kinds in measures.items():
        for kind in ("ours", "dense, channels_last"):
            if not torch.allclose(kinds[kind](), kinds["dense"](), rtol=1e-3, atol=1e-3):
                raise UserError(f"the {measured} of {case} by {kind!r} differs from the dense one; nothing was timed")
        yield {kind: measure.timed(measured, work) for kind, work in kinds.items()}


@torch.no_grad()
def times(setting: Setting, repeats: int, quick: bool) -> list[Row]:
    """All rows of a setting; meant for a fresh process."""
    clock, rows = setting.enter(), []
    with use_convolution("spike"):
        for name, case in (QUICK if quick else CASES).items():
            torch.compiler.reset()  # or it compiles for any shape from the second one on
            for density in DENSITIES[setting]:
                title = f"{name}, density {density:g}"
                for work in variants(case, density, quick=quick):
                    rows += measure.interleaved("conv", title, setting, clock, work, repeats, warmups=1)
    return rows


def run(quick: bool) -> dict:
    """Measure the suite; returns its part of the report."""
    settings, repeats = (SETTINGS[:1], 1) if quick else (SETTINGS, 5)
    return {"rows": [row for setting in settings for row in measure.in_fresh_process(times, setting, repeats, quick)]}
