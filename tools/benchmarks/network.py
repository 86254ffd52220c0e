"""Suite `network`: a training step and an evaluation of whole networks, as they are run here and as their authors do.

| variant                 | neurons      | convolutions                   | stem of an image | evaluation         |
|-------------------------|--------------|--------------------------------|------------------|--------------------|
| ours                    | compiled     | time folded, zeros skipped     | once             | batch norms folded |
| ours, dense             | compiled     | time folded into batch         | once             | folded             |
| ours, channels_last     | compiled     | the same, dense, NHWC          | once             | folded             |
| PyTorch loop            | PyTorch loop | time folded into batch         | at every step    | as in training     |
| PyTorch loop, unfolded  | PyTorch loop | called at every step           | at every step    | as in training     |
| spikingjelly's neurons  | spikingjelly | time folded into batch         | at every step    | as in training     |

In ours, the large kernels of SMA work in the Fourier domain where that pays (`sma.models.fourier`).

The authors of SMA-VGG8 and Spikingformer use spikingjelly's neurons, those of GAC's CIFAR networks and SDT V3 a PyTorch
loop, all with time folded into the batch; MS-ResNet's loop runs both neurons and convolutions step by step.
"""

import copy
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

from common.errors import UserError
from common.kernels import use, use_convolution
from common.kernels.memory import output_pool
from common.layers import TimeConv2d, TimeFolded, channels_last, fold_for_inference
from common.neurons import ATan, LIFNode, Sigmoid
from sma.models.fourier import FourierConv2d
from tools.benchmarks import measure, trained
from tools.benchmarks.measure import Row, Setting, Variant
from tools.papers import papers

SETTINGS = (Setting(1, True), Setting(2, False))
TRAINED = Path("data", "benchmark")
"""Where the weights of the networks stay once they are trained, which takes a quarter of an hour."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """A network, its input, and how the authors' way of running it differs from ours."""

    model: str
    side: int
    """Of the input, in pixels."""
    settings: dict = field(default_factory=dict)
    batch: int = 4
    every_step: Callable[[Tensor], Tensor] = lambda image: image
    """Turns an image into what makes the network compute its stem at every step."""
    unfoldable: bool = False
    spikingjelly: bool = False


CASES = {
    "sma_vgg8_cifar10dvs, 48 px, T=10, batch 1": Case(
        "sma_vgg8_cifar10dvs", 48, batch=1, unfoldable=True, spikingjelly=True
    ),
    "ms_resnet18, 64 px, T=6": Case("ms_resnet18", 64, {"T": 6}, unfoldable=True),
    "gac_ms_resnet18_cifar, 32 px, T=4": Case("gac_ms_resnet18_cifar", 32, {"T": 4}),
    "spikingformer_cifar_4_384, 32 px, T=4": Case(
        "spikingformer_cifar_4_384",
        32,
        {"T": 4},
        every_step=lambda image: image.unsqueeze(1).repeat(1, 4, 1, 1, 1),
        spikingjelly=True,
    ),
    "sdt_v3_tiny, 64 px": Case("sdt_v3_tiny", 64),
}
QUICK = {
    "sma_vgg8_cifar10dvs": replace(
        CASES["sma_vgg8_cifar10dvs, 48 px, T=10, batch 1"], side=32, settings={"T": 4, "width": 0.125}
    ),
    "sdt_v3_tiny": replace(CASES["sdt_v3_tiny, 64 px"], side=32, batch=1),
}


class SpikingJellyLIF(LIFNode):
    """spikingjelly's neuron in the place of ours, its state cleared after every call; a LIFNode for who asks."""

    def __init__(self, ours: LIFNode):
        from spikingjelly.activation_based import neuron, surrogate

        super().__init__()
        p = ours.constants
        function = {ATan: surrogate.ATan, Sigmoid: surrogate.Sigmoid}[type(p.surrogate)](alpha=p.surrogate.alpha)
        self.node = neuron.LIFNode(p.tau, True, p.threshold, 0.0, function, p.detach_reset, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.node(x)
        self.node.reset()
        return spikes


@contextmanager
def unfolded() -> Iterator[None]:
    """Call convolutions and pools once per time step; batch norms still see all steps, as in the authors' code."""
    folded = TimeFolded.forward

    def steps(self: TimeFolded, x: Tensor) -> Tensor:
        if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in self):
            return folded(self, x)
        return torch.stack([nn.Sequential.forward(self, step) for step in x])

    def conv_steps(self: TimeConv2d, x: Tensor) -> Tensor:
        return torch.stack([nn.Conv2d.forward(self, step).to(self.weight.dtype) for step in x])

    with mock.patch.object(TimeFolded, "forward", steps), mock.patch.object(TimeConv2d, "forward", conv_steps):
        yield


dense = partial(use_convolution, "dense")


@dataclass
class Candidate:
    """A network of its own, what to feed it, and the context to run it in."""

    model: nn.Module
    x: Tensor
    context: Callable[[], AbstractContextManager] = nullcontext
    folds: bool = False

    def __call__(self) -> Tensor:
        with self.context():
            return self.model(self.x)

    def in_evaluation(self) -> "Candidate":
        """The same network, prepared for evaluation."""
        model = fold_for_inference(self.model) if self.folds else copy.deepcopy(self.model).eval()
        return Candidate(model, self.x, self.context)


@contextmanager
def loop(*, convolutions: bool = False) -> Iterator[None]:
    """Neurons as PyTorch loops, and on demand convolutions too."""
    with use("torch"), dense(), unfolded() if convolutions else nullcontext():
        yield


def prepared(name: str, case: Case, folder: Path, quick: bool) -> tuple[nn.Module, Tensor, dict[str, float]]:
    """The network of `case` as it is once trained, a batch of digits for it, and how it was trained.

    Its weights are kept in `folder`, under the name of the case.
    """
    import timm

    papers()  # registers the networks
    torch.manual_seed(0)
    model = timm.create_model(case.model, **case.settings)
    layout = model.layout.at(case.side)
    file = re.sub(r"\W+", "_", name) + ".pt"
    facts = trained.keep(folder / file, model, layout, epochs=0 if quick else trained.EPOCHS)
    x, _ = trained.samples(layout, 1)
    return model, x.narrow(layout.batch_axis, 0, case.batch), facts


def densities(name: str, folder: Path, quick: bool) -> list[dict]:
    """How the network of a case fires, trained and checked; meant for a fresh process."""
    torch.set_num_threads(1)
    check(name, folder, quick)
    model, x, facts = prepared(name, (QUICK if quick else CASES)[name], folder, quick)
    found = {**facts, **trained.densities(model, x)}
    return [{"case": name, "variant": variant, "size": size} for variant, size in found.items()]


def candidates(name: str, folder: Path, quick: bool, batch: int | None = None) -> dict[str, Candidate]:
    """Every way of running the network of a case, with the same weights and input, of its batch or another one."""
    case = (QUICK if quick else CASES)[name]
    case = replace(case, batch=batch or case.batch)
    model, x, _ = prepared(name, case, folder, quick)
    as_published = copy.deepcopy(model)
    if hasattr(model, "once"):
        as_published.once = False
    for module in as_published.modules():
        if isinstance(module, FourierConv2d):
            module.fourier = False
    published_x = case.every_step(x)
    title = "PyTorch loop" + ", unfolded" * case.unfoldable
    found = {
        "ours": Candidate(model, x, folds=True),
        "ours, dense": Candidate(copy.deepcopy(model), x, dense, folds=True),
        "ours, channels_last": Candidate(channels_last(copy.deepcopy(model)), x, dense, folds=True),
        title: Candidate(as_published, published_x, partial(loop, convolutions=case.unfoldable)),
    }
    if case.spikingjelly and measure.installed("spikingjelly"):
        found["spikingjelly's neurons"] = Candidate(with_spikingjelly(as_published), published_x, dense)
    return found


def with_spikingjelly(model: nn.Module) -> nn.Module:
    """A copy of `model` with spikingjelly's LIF neurons."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LIFNode):
                setattr(parent, name, SpikingJellyLIF(child))
    return model


def training_step(candidate: Candidate, optimizer: torch.optim.Optimizer, dtype: torch.dtype) -> None:
    """Forward, backward and an SGD step; the loss is the mean square of the logits."""
    with candidate.context():
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = candidate()
        logits.float().square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@torch.no_grad()
def evaluation(candidate: Candidate, dtype: torch.dtype) -> Tensor:
    """Logits."""
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        return candidate()


def variants(found: dict[str, Candidate], precision: str) -> Iterator[dict[str, Variant]]:
    """The training steps, then the evaluations; not together, so that only half of the networks are in memory."""
    dtype = PRECISIONS[precision]
    steps = {}
    for name, candidate in found.items():
        candidate.model.train()
        optimizer = torch.optim.SGD(candidate.model.parameters(), lr=1e-4)
        step = partial(training_step, candidate, optimizer, dtype)
        steps[name] = measure.timed(f"training step, {precision}", step)
    yield steps
    evaluated = {name: partial(evaluation, candidate.in_evaluation(), dtype) for name, candidate in found.items()}
    yield {name: measure.timed(f"evaluation, {precision}", work) for name, work in evaluated.items()}


def check(name: str, folder: Path, quick: bool) -> None:
    """All ways of running a network give the same logits; in float64, where no rounding moves a spike.

    Raises:
        UserError: they do not, or they do not depend on the input, so that nothing was compared.
    """
    found = candidates(name, folder, quick, batch=1)
    found["blank"] = replace(found["ours"], x=torch.zeros_like(found["ours"].x))
    logits = {}
    for variant, candidate in found.items():
        in_float64 = replace(candidate, model=candidate.model.double(), x=candidate.x.double())
        logits[variant] = evaluation(in_float64.in_evaluation(), torch.float32)
    if torch.allclose(logits.pop("blank"), logits["ours"]):
        raise UserError(f"{name}: no spike reaches the logits; nothing was timed")
    for variant, values in logits.items():
        if not torch.allclose(values, logits["ours"], rtol=1e-6, atol=1e-9):
            difference = (values - logits["ours"]).abs().max()
            raise UserError(f"{name}: logits of {variant!r} differ from ours by {difference:.2g}; nothing was timed")


def times(name: str, folder: Path, setting: Setting, repeats: int, quick: bool) -> list[Row]:
    """All rows of a case; meant for a fresh process."""
    clock = setting.enter()
    found = candidates(name, folder, quick)
    return [
        row
        for precision in PRECISIONS
        if precision == "float32" or (setting.threads == 1 and torch.cpu._is_avx512_bf16_supported())  # a run is long
        for work in variants(found, precision)
        for row in measure.interleaved("network", name, setting, clock, work, repeats, warmups=1)
    ]


def memory(name: str, folder: Path) -> list[dict]:
    """Peak memory of a training step of our variants in float32, in MiB; meant for a fresh process."""
    torch.set_num_threads(1)
    measure.return_freed_memory()
    output_pool().limit = 0  # what lies idle in it would count
    found, peaks = candidates(name, folder, False), []
    for variant in ("ours", "ours, dense"):
        candidate = found[variant]
        candidate.model.train()
        optimizer = torch.optim.SGD(candidate.model.parameters(), lr=1e-4)
        peak = measure.peak_memory(partial(training_step, candidate, optimizer, torch.float32))
        peaks.append({"case": name, "variant": variant, "size": None if peak is None else peak / 2**20})
    return peaks


def run(quick: bool) -> dict:
    """Measure the suite; returns its part of the report."""
    cases, settings, repeats = (QUICK, SETTINGS[:1], 1) if quick else (CASES, SETTINGS, 3)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if quick else TRAINED
        fires = measure.side_by_side(densities, [(name, folder, quick) for name in cases])
        rows = [
            row
            for setting in settings
            for name in cases
            for row in measure.in_fresh_process(times, name, folder, setting, repeats, quick)
        ]
        peaks = [] if quick else measure.side_by_side(memory, [(name, folder) for name in cases])
    facts = {"memory": peaks, "densities": fires}
    return {"rows": rows, **{kind: [fact for case in cases for fact in case] for kind, cases in facts.items()}}
