"""Properties that every neuron has, whatever the paper."""

import pytest
import torch
from spikingjelly.activation_based import neuron as peer
from spikingjelly.activation_based import surrogate as peer_surrogate

from common.errors import UserError
from common.kernels import use
from common.neurons import (
    NEURONS,
    ATan,
    DecayLIFNode,
    IntegerLIF,
    LIAFNode,
    LIFNode,
    MSLIFNode,
    Sigmoid,
    ThresholdResetLIFNode,
    Triangle,
)

TIME_FIRST = {
    "LIF": lambda **k: LIFNode(**k),
    "soft reset": lambda **k: LIFNode(reset="soft", detach_reset=False, **k),
    "MS": lambda **k: MSLIFNode(**k),
    "GAC": lambda **k: DecayLIFNode(0.5, 1.0, surrogate=Triangle(), detach_reset=False, **k),
    "threshold reset": lambda **k: ThresholdResetLIFNode(**k),
    "LIAF": lambda **k: LIAFNode(**k),
    "integer": lambda **k: IntegerLIF(**k),
}
every_neuron = pytest.mark.parametrize("build", TIME_FIRST.values(), ids=TIME_FIRST)


def current(*shape, dtype=torch.float64):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@every_neuron
def test_time_axis_is_an_argument(build):
    x = current(5, 3, 4)
    first = build(time_dim=0)(x)
    second = build(time_dim=1)(x.transpose(0, 1))
    assert torch.equal(first, second.transpose(0, 1))


@every_neuron
def test_no_state_is_kept_between_calls(build):
    neuron, x = build(time_dim=0), current(5, 3, 4)
    assert torch.equal(neuron(x), neuron(x))
    assert not neuron.state_dict()


@every_neuron
def test_steps_see_only_the_past(build):
    x = current(6, 3, 4)
    neuron = build(time_dim=0)
    assert torch.equal(neuron(x)[:4], neuron(x[:4]))


@every_neuron
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_membrane_in_float32(build, dtype):
    neuron, x = build(time_dim=0), current(5, 3, 4).to(dtype)
    output = neuron(x)
    assert output.dtype == dtype
    assert torch.equal(output, neuron(x.float()).to(dtype))


@every_neuron
def test_every_neuron_is_listed_for_hooks(build):
    assert isinstance(build(time_dim=0), NEURONS)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("tau", [1.5, 2.0])
@pytest.mark.parametrize(
    "ours, theirs", [(ATan(2.0), peer_surrogate.ATan(2.0)), (Sigmoid(4.0), peer_surrogate.Sigmoid(4.0))]
)
def test_lif_agrees_with_spikingjelly(ours, theirs, tau, reset, detach):
    x = current(6, 3, 50).requires_grad_()
    other = peer.LIFNode(
        tau=tau,
        v_reset=0.0 if reset == "hard" else None,
        surrogate_function=theirs,
        detach_reset=detach,
        step_mode="m",
    )
    expected = other(x)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), x)
    spikes = LIFNode(tau, reset=reset, detach_reset=detach, surrogate=ours)(x)
    (gradient,) = torch.autograd.grad(spikes.sum(), x)
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-12)


def test_repr_names_what_differs_from_the_default():
    assert repr(LIFNode(tau=1.5)) == "LIFNode(tau=1.5, time_dim=0)"


def test_unknown_backend_is_named(monkeypatch):
    monkeypatch.setenv("SNN_BACKEND", "abacus")
    with pytest.raises(UserError, match="unknown neuron backend 'abacus'"):
        LIFNode()(current(2, 3))


def test_backend_can_be_forced():
    x = current(4, 10)
    with use("torch"):
        forced = LIFNode()(x)
    assert torch.equal(forced, LIFNode()(x))
