"""Suite `lif`: one multi-step neuron, forward and backward."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from common.kernels import reference
from common.neurons import ATan, DecayLIFNode, LIFNode, MSLIFNode, Sigmoid, ThresholdResetLIFNode, Triangle
from tools.benchmarks import measure
from tools.benchmarks.measure import Clock, Row, Setting

Neuron = Callable[[Tensor], Tensor]

SIMILAR = {
    "snntorch": "resets one step later and scales its input differently: similar, not identical work",
    "norse": "has the SuperSpike surrogate and another time constant: similar, not identical work",
}
"""Peers that do not compute the same function."""

SETTINGS = (Setting(1, True), Setting(2, False))


@dataclass(frozen=True)
class Case:
    """A neuron, the shape and type of its input, and who else is asked."""

    neuron: Callable[[], nn.Module]
    shape: tuple[int, ...] = (4, 16, 128, 32, 32)
    dtype: torch.dtype = torch.float32
    peers: tuple[str, ...] = ()


LIF_PEERS = ("spikingjelly", "spikingjelly, compiled", "snntorch", "norse")
CASES = {
    "LIF, ATan, T=4": Case(LIFNode, peers=LIF_PEERS),
    "LIF, ATan, T=16": Case(LIFNode, (16, 4, 128, 32, 32), peers=LIF_PEERS),
    "LIF, ATan, T=4, bfloat16": Case(LIFNode, dtype=torch.bfloat16, peers=LIF_PEERS),
    "LIF, sigmoid, T=4": Case(partial(LIFNode, surrogate=Sigmoid()), peers=LIF_PEERS[:2]),
    "MS-ResNet, T=4": Case(MSLIFNode),
    "GAC, T=4": Case(partial(DecayLIFNode, 0.5, 1.0, surrogate=Triangle(), detach_reset=False)),
    "MA-SNN, T=4": Case(ThresholdResetLIFNode, (16, 4, 128, 32, 32)),
}
"""float32 unless named; the last three against the loop that their authors use."""

QUICK = {name: replace(CASES[name], shape=(2, 2, 4, 8, 8)) for name in ("LIF, ATan, T=4", "MA-SNN, T=4")}


def neurons(case: Case, *, quick: bool) -> dict[str, Neuron]:
    """Everybody's implementation of the neuron of `case`, ours first."""
    ours = case.neuron()
    found = {
        "ours": ours,
        "PyTorch loop": lambda x: reference.multi_step_lif(x, ours.constants, ours.time_dim)[0],
    }
    for name in case.peers:
        if measure.installed(name.partition(",")[0]) and not (quick and "compiled" in name):
            found[name] = PEERS[name](ours)
    return found


def spikingjelly(ours: LIFNode, *, compiled: bool = False) -> Neuron:
    """Its multi-step LIF with the surrogate of `ours`, eager or under torch.compile; its state is cleared each time."""
    from spikingjelly.activation_based import neuron, surrogate

    peer = {ATan: surrogate.ATan, Sigmoid: surrogate.Sigmoid}[type(ours.constants.surrogate)]
    function = peer(alpha=ours.constants.surrogate.alpha)
    node = neuron.LIFNode(tau=2.0, detach_reset=True, surrogate_function=function, step_mode="m")
    forward = torch.compile(node) if compiled else node

    def run(x: Tensor) -> Tensor:
        node.reset()
        return forward(x)

    return run


def snntorch(ours: LIFNode) -> Neuron:
    """Its `Leaky` with reset to zero, stepped by a loop."""
    from snntorch import Leaky, surrogate

    cell = Leaky(beta=0.5, spike_grad=surrogate.atan(alpha=2.0), reset_mechanism="zero")

    def run(x: Tensor) -> Tensor:
        membrane, spikes = torch.zeros_like(x[0]), []
        for step in x:
            spike, membrane = cell(step, membrane)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


def norse(ours: LIFNode) -> Neuron:
    """Its `LIFBoxCell`, stepped by a loop."""
    from norse.torch import LIFBoxCell

    cell = LIFBoxCell()

    def run(x: Tensor) -> Tensor:
        state, spikes = None, []
        for step in x:
            spike, state = cell(step, state)
            spikes.append(spike)
        return torch.stack(spikes)

    return run


PEERS = {
    "spikingjelly": spikingjelly,
    "spikingjelly, compiled": partial(spikingjelly, compiled=True),
    "snntorch": snntorch,
    "norse": norse,
}


def data(case: Case) -> tuple[Tensor, Tensor]:
    """An input and the gradient at the output."""
    torch.manual_seed(0)
    x = torch.randn(case.shape, dtype=case.dtype).mul_(2).requires_grad_()
    return x, torch.randn(case.shape, dtype=case.dtype)


def forward_and_backward(neuron: Neuron, x: Tensor, gradient: Tensor, clock: Clock) -> dict[str, float]:
    """Seconds of the forward pass, and of both until everything that they made is gone."""
    start = clock()
    output = neuron(x)
    middle = clock()
    output.backward(gradient)
    x.grad = output = None
    return {"forward": middle - start, "forward + backward": clock() - start}


def times(setting: Setting, repeats: int, quick: bool) -> list[Row]:
    """All rows of a setting; meant for a fresh process."""
    clock, rows = setting.enter(), []
    for name, case in (QUICK if quick else CASES).items():
        torch.compiler.reset()  # or it compiles for any shape from the second one on
        x, gradient = data(case)
        variants = {
            peer: partial(forward_and_backward, neuron, x, gradient)  # the clock follows
            for peer, neuron in neurons(case, quick=quick).items()
        }
        rows += measure.interleaved("lif", name, setting, clock, variants, repeats, warmups=1)
    return rows


def memory(name: str, quick: bool) -> list[dict]:
    """Peak memory of a forward and backward pass beside its input and gradient, in inputs; for a fresh process."""
    measure.return_freed_memory()
    torch.set_num_threads(1)
    case = (QUICK if quick else CASES)[name]
    x, gradient = data(case)
    peaks = []
    for variant, neuron in neurons(case, quick=quick).items():
        peak = measure.peak_memory(partial(forward_and_backward, neuron, x, gradient, lambda: 0.0))
        peaks.append({"case": name, "variant": variant, "size": None if peak is None else peak / x.nbytes})
    return peaks


def bounds(cases: dict[str, Case], settings: Iterable[Setting], bandwidth: dict[int, float]) -> list[Row]:
    """The least time of each case: its traffic over the measured copy bandwidth.

    Forward reads x and writes the spikes, backward reads x and the gradient and writes one: 2 and 5 tensors.
    """
    rows = []
    for name, case in cases.items():
        size = torch.empty(case.shape, dtype=case.dtype, device="meta").nbytes
        for setting in settings:
            for title, tensors in (("forward", 2), ("forward + backward", 5)):
                least = 1e3 * tensors * size / bandwidth[setting.threads]
                rows.append(Row("lif", name, title, str(setting), "bound", least, least, least))
    return rows


def run(quick: bool) -> dict:
    """Measure the suite; returns its part of the report."""
    cases, settings, repeats = (QUICK, SETTINGS[:1], 2) if quick else (CASES, SETTINGS, 3)
    bandwidth = {
        threads: measure.in_fresh_process(measure.copy_bandwidth, threads, 2 if quick else 128)
        for threads in sorted({setting.threads for setting in settings})
    }
    rows = [row for setting in settings for row in measure.in_fresh_process(times, setting, repeats, quick)]
    rows += bounds(cases, settings, bandwidth)
    peaks = measure.side_by_side(memory, [(name, quick) for name in cases])
    return {"rows": rows, "memory": [peak for case in peaks for peak in case], "bandwidth": bandwidth}
