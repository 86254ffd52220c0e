"""Every neuron of the five papers equals its original in float64: outputs, membranes and gradients."""

import numpy as np
import pytest
import torch

from common.kernels import IntegerParameters, reference
from common.neurons import (
    ATan,
    DecayLIFNode,
    IntegerLIF,
    LIAFNode,
    LIFNode,
    MSLIFNode,
    Rectangle,
    Sigmoid,
    ThresholdResetLIFNode,
    Triangle,
)
from tests.parity.harness import close, fixtures, load
from tests.parity.seeded import seeded_input


def forward_backward(neuron, x, cotangent):
    x = x.clone().requires_grad_()
    output = neuron(x)
    output.backward(cotangent)
    return output, x.grad


def standard_normal(seed, shape):
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(tuple(shape)))


@pytest.mark.parametrize("file", fixtures("sma", "module_lif_*", "module_mem_update_*"))
def test_sma_neurons(file):
    meta, expected = load(file)
    neuron = LIFNode(surrogate=ATan(2.0)) if meta["model"] == "lif" else MSLIFNode()
    probe = torch.from_numpy(seeded_input("image", meta["gradient_probe"]["shape"], seed=100))
    output, gradient = forward_backward(neuron, expected["input"], probe)
    assert torch.equal(output, expected["out"])
    close(gradient, expected["grad_input"], "grad_input")
    if "v_last" in expected:
        _, membrane = reference.multi_step_lif(expected["input"], neuron.constants)
        close(membrane[-1], expected["v_last"], "v_last")


@pytest.mark.parametrize("file", fixtures("spikingformer", "module_lif_*"))
def test_spikingformer_neuron(file):
    meta, expected = load(file)
    constants = meta["kwargs"]
    neuron = LIFNode(constants["tau"], constants["v_threshold"], surrogate=Sigmoid(4.0))
    output, gradient = forward_backward(neuron, expected["x"], expected["grad_out"])
    assert torch.equal(output, expected["spikes"])
    close(gradient, expected["grad_x"], "grad_x")
    close(reference.multi_step_lif(expected["x"], neuron.constants)[1], expected["v"], "v")


@pytest.mark.parametrize("file", fixtures("gac", "mod_zif_*"))
def test_gac_triangle_surrogate(file):
    meta, expected = load(file)
    neuron = DecayLIFNode(decay=0.5, threshold=0.0, surrogate=Triangle(meta["gama"]))
    output, gradient = forward_backward(neuron, expected["u"][None], torch.ones(1, len(expected["u"])).double())
    assert torch.equal(output[0], expected["out"])
    close(gradient[0], expected["grad"], "grad")


@pytest.mark.parametrize("file", fixtures("gac", "mod_lif_zif_*", "mod_mem_update_*"))
def test_gac_neurons(file):
    meta, expected = load(file)
    constants = meta["kwargs"]
    neuron = MSLIFNode()
    if "gama" in constants:
        neuron = DecayLIFNode(
            constants["tau"],
            constants["thresh"],
            surrogate=Triangle(constants["gama"]),
            detach_reset=False,
            time_dim=1,
        )
    output, gradient = forward_backward(neuron, expected["x"], expected["ct"])
    assert torch.equal(output, expected["out"])
    close(gradient, expected["grad_x"], "grad_x")
    close(output.mean(), expected["rate"], "rate")


@pytest.mark.parametrize("file", fixtures("ma_snn", "block_neuron_*"))
def test_ma_snn_neurons(file):
    meta, expected = load(file)
    k = meta["kwargs"]
    common = {"surrogate": Rectangle(k["surrogate_half_width"])}
    neuron = ThresholdResetLIFNode(k["alpha"], k["beta"], k["v_threshold"], **common)
    if k["neuron"] == "liaf":
        activation = None if k["graded_activation"] == "none" else k["graded_activation"]
        related = k["liaf_threshold_related"]
        neuron = LIAFNode(
            k["alpha"], k["beta"], k["v_threshold"], activation=activation, threshold_related=related, **common
        )
    cotangent = standard_normal(meta["input"]["seed"] + 1000, expected["output"].shape)
    output, gradient = forward_backward(neuron, expected["input"], cotangent)
    close(output, expected["output"], "output")
    close(gradient, expected["grad_input"], "grad_input")
    _, membrane = reference.multi_step_lif(expected["input"], neuron.constants, time_dim=1)
    close(k["alpha"] * membrane + k["beta"], expected["carry"], "carry")


@pytest.mark.parametrize("file", fixtures("ma_snn", "block_ms_neuron_*"))
def test_att_ms_resnet_neuron(file):
    meta, expected = load(file)
    cotangent = standard_normal(meta["input"]["seed"] + 1000, expected["output"].shape)
    output, gradient = forward_backward(MSLIFNode(), expected["input"], cotangent)
    assert torch.equal(output, expected["output"])
    close(gradient, expected["grad_input"], "grad_input")


@pytest.mark.parametrize("file", fixtures("sdt_v3", "neuron_sfa_*"))
def test_integer_neuron(file):
    meta, expected = load(file)
    large = "large" in file.stem
    neuron = IntegerLIF(
        meta["kwargs"]["max_value"],
        meta["kwargs"]["norm"],
        rounding="half_up" if large else "half_even",
        open_window=large,
    )
    output, gradient = forward_backward(neuron, expected["x"], expected["grad_out"])
    assert torch.equal(output, expected["y"])
    close(gradient, expected["grad_in"], "grad_in")


def test_integer_neuron_over_time():
    meta, expected = load(fixtures("sdt_v3", "neuron_qif_dvs_3steps")[0].values[0])
    constants = IntegerParameters(meta["kwargs"]["max_value"], norm=1)
    neuron = IntegerLIF(constants.max_value, norm=1, time_dim=0)
    output, gradient = forward_backward(neuron, expected["x"], expected["grad_out"])
    assert torch.equal(output, expected["y"])
    close(gradient, expected["grad_in"], "grad_in")
    close(reference.integer_if(expected["x"], constants, time_dim=0)[1], expected["v"], "v")
