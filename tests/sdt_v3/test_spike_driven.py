"""The spike-driven network sees binary spikes only and computes what the integer network computes, layer by layer."""

from contextlib import contextmanager

import pytest
import timm
import torch
from torch import nn

import sdt_v3  # noqa: F401  (registers the models)
from common.layers import SpikingAttention
from sdt_v3.models.repconv import RepConv1d
from sdt_v3.models.spike_driven import UNROLLED, UnrolledAttention, spike_driven
from tests.parity.harness import calibrate, close, fixtures, load, reseed
from tests.parity.seeded import seeded_input

LARGE = {"embed_dim": (32, 48, 64), "depth": 2, "num_heads": 2}
SMALL = {
    "base": ("sdt_v3_5m", {"embed_dim": (16, 32, 64, 96)}, (2, 3, 64, 64)),
    "base with layer scale": ("sdt_v3_5m", {"embed_dim": (16, 32, 64, 96), "layer_scale": True}, (2, 3, 64, 64)),
    "base, D 8": ("sdt_v3_5m", {"embed_dim": (16, 32, 64, 96), "max_value": 8}, (2, 3, 64, 64)),
    "large": ("sdt_v3_83m", LARGE | {"T": 2}, (1, 3, 128, 128)),
    "large, distilled": ("sdt_v3_173m", LARGE | {"kd": True}, (2, 3, 128, 128)),
    "DVS": ("sdt_v3_gesture", {"embed_dim": (16, 32, 64, 96)}, (2, 2, 2, 64, 64)),
}


def calibrated(name, kwargs, x, bn_gain=3.0):
    """A seeded network in evaluation mode, whose neurons fire well: its batch norms are stronger than seeded."""
    model = timm.create_model(name, **{"num_classes": 10, **kwargs}).double()
    reseed(model, {"bn_gain": bn_gain})
    calibrate(model, lambda: model(x))
    return model


@pytest.fixture(params=SMALL, scope="module")
def pair(request):
    """An integer network, its spike-driven copy and an input."""
    name, kwargs, shape = SMALL[request.param]
    x = torch.from_numpy(seeded_input("image", shape, seed=1))
    model = calibrated(name, kwargs, x)
    return model, spike_driven(model), x


@torch.no_grad()
def run(model, x, layers, neurons=()):
    """Logits, the outputs of the named layers, and (input, output) of the named neurons."""
    outputs, ends = {}, {}
    modules = dict(model.named_modules())
    handles = [
        modules[name].register_forward_hook(lambda m, i, o, name=name: outputs.__setitem__(name, o)) for name in layers
    ] + [
        modules[name].register_forward_hook(lambda m, i, o, name=name: ends.__setitem__(name, (i[0], o)))
        for name in neurons
    ]
    logits = model(x)
    for handle in handles:
        handle.remove()
    return logits, outputs, ends


@contextmanager
def watch_spikes(model):
    """Within the block, collect the number of spikes that enter each layer of a `spike_driven` network, by its name.

    Counts of several batches add up. For an attention product it is the sum over q, k and v.
    """
    counts = {}

    def count(name):
        def hook(module, inputs):
            counts[name] = counts.get(name, 0) + sum(int(spikes.count_nonzero()) for spikes in inputs)

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, UNROLLED)]
    handles = [module.register_forward_pre_hook(count(name)) for name, module in layers]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def relative_error(actual, expected):
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def spikes_of_if_neuron(x, steps):
    """Spikes of an integrate-and-fire neuron that starts at 0.5 + x, fires at 1 and subtracts 1."""
    v, spikes = x + 0.5, torch.zeros_like(x)
    for _ in range(steps):
        fired = (v >= 1).to(x.dtype)
        v, spikes = v - fired, spikes + fired
    return spikes


@pytest.mark.parametrize("file", fixtures("sdt_v3", "equivalence_*"))
def test_base_network_equals_the_original_layer_by_layer(file):
    meta, expected = load(file)
    k = meta["kwargs"]
    x = torch.from_numpy(seeded_input("image", meta["input"]["shape"], meta["input"]["seed"]))
    settings = {key: k[key] for key in ("num_classes", "embed_dim", "num_heads", "max_value")}
    integer = calibrated("sdt_v3_5m", settings, x, bn_gain=1.0)
    spiking = spike_driven(integer)
    logits, outputs, ends = run(integer, x, meta["layers"], meta["neurons"])
    with watch_spikes(spiking) as spikes:
        spiking_logits, spiking_outputs, _ = run(spiking, x, meta["layers"])

    close(logits, expected["logits_int"], "logits_int")
    close(spiking_logits, expected["logits_spike"], "logits_spike")
    close([spikes.get(name, 0) for name in meta["layers"]], expected["spike_sum"], "spike_sum")
    known = [0 if name in integer.real_valued_layers else outputs[name].abs().max() for name in meta["layers"]]
    close(known, expected["layer_out_max"], "layer_out_max")
    assert max(relative_error(spiking_outputs[name], outputs[name]) for name in meta["layers"]) < 1e-12

    counts = {name: (drive, output * (1 if name == "spike" else 4)) for name, (drive, output) in ends.items()}
    shares = [[(n == value).double().mean() for value in range(5)] for _, n in counts.values()]
    close(torch.tensor(shares), expected["hist"], "hist")
    differ = [(spikes_of_if_neuron(drive, 4) != n).sum() for drive, n in counts.values()]
    assert differ == expected["if_mismatch"].tolist()


def test_logits_equal_the_integer_network(pair):
    model, spiking, x = pair
    with torch.no_grad():
        assert relative_error(spiking(x), model(x)) < 1e-12


def test_every_layer_equals_the_integer_networks(pair):
    model, spiking, x = pair
    names = [name for name, module in spiking.named_modules() if isinstance(module, UNROLLED)]
    _, expected, _ = run(model, x, names)
    _, actual, _ = run(spiking, x, names)
    assert max(relative_error(actual[name], expected[name]) for name in names) < 1e-12


def test_every_layer_but_the_listed_ones_sees_binary_spikes(pair):
    model, spiking, x = pair
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear, *UNROLLED)
    inputs = {}
    handles = [
        module.register_forward_pre_hook(lambda m, i, name=name: inputs.__setitem__(name, i))
        for name, module in spiking.named_modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        spiking(x)
    for handle in handles:
        handle.remove()
    graded = {name for name, seen in inputs.items() if any(((s != 0) & (s != 1)).any() for s in seen)}
    assert graded == set(model.real_valued_layers)


def test_attention_products_are_unrolled(pair):
    _, spiking, _ = pair
    assert not any(isinstance(module, SpikingAttention | RepConv1d) for module in spiking.modules())


def test_the_integer_network_is_left_as_it_was(pair):
    model, _, _ = pair
    assert not any(isinstance(module, UNROLLED) for module in model.modules())
    assert model.downsample2.encode_conv.bias is not None


def test_spike_counts_are_the_integers_of_the_integer_network(pair):
    model, spiking, x = pair
    with watch_spikes(spiking) as spikes, torch.no_grad():
        spiking(x)
    assert all(spikes.values()), "a silent layer would make the comparisons of this file vacuous"
    neuron = "downsample2.encode_spike"
    _, _, ends = run(model, x, (), [neuron])
    assert spikes["downsample2.encode_conv"] == round((ends[neuron][1] * model.norm).sum().item())


def test_more_virtual_steps_change_nothing():
    name, kwargs, shape = SMALL["large, distilled"]
    x = torch.from_numpy(seeded_input("image", shape, seed=1))
    model = calibrated(name, kwargs, x)
    with torch.no_grad():
        assert relative_error(spike_driven(model, steps=6)(x), model(x)) < 1e-12


def unary(*integers, steps=4):
    """Spikes `[D*B=D, heads=1, N=1, d=1]` of each integer, fired first."""
    return [torch.tensor([float(n >= d) for d in range(1, steps + 1)]).view(-1, 1, 1, 1) for n in integers]


@pytest.mark.parametrize("integers", [(2, 3, 1), (4, 2, 2), (4, 4, 4), (0, 4, 4)])
def test_time_aligned_attention_counts_the_steps_in_which_all_three_fire(integers):
    q, k, v = integers
    aligned, summed = (
        UnrolledAttention(SpikingAttention(0.5), 4, 4, time_aligned=aligned)(*unary(*integers)).item()
        for aligned in (True, False)
    )
    assert aligned == 0.5 * min(integers) / 4
    assert summed == 0.5 * q * k * v / 4**3


def test_time_aligned_inference_is_another_function(pair):
    model, spiking, x = pair
    aligned = spike_driven(model, time_aligned=True)
    with torch.no_grad():
        assert relative_error(aligned(x), spiking(x)) > 1e-3
        products = [name for name, module in aligned.named_modules() if isinstance(module, UnrolledAttention)]
        _, others, _ = run(aligned, x, products[:1])
        _, sums, _ = run(spiking, x, products[:1])
    assert not torch.allclose(others[products[0]], sums[products[0]])


def test_too_few_virtual_steps_are_refused():
    model = timm.create_model("sdt_v3_tiny", num_classes=2)
    with pytest.raises(ValueError, match="3 virtual steps cannot carry integers up to 4"):
        spike_driven(model, steps=3)


def test_networks_without_a_classifier_are_refused():
    with pytest.raises(ValueError, match="Linear cannot run on spikes"):
        spike_driven(nn.Linear(2, 2))
