"""What is written to NIR fires the same spikes when it is read back, here and by another reader."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

import gac  # noqa: F401
import ma_snn  # noqa: F401
import sma  # noqa: F401  (the three register their networks)
from common.errors import UserError
from common.kernels import LIFParameters
from common.layers import fold_for_inference
from common.neurons import NEURONS, LIFNode
from tests.tools.small_networks import lively

nir = pytest.importorskip("nir", reason="needs the extra `nir`")
nirtorch = pytest.importorskip("nirtorch", reason="needs the extra `nir`")

from tools.nir_graphs import load_nir, save_nir, to_nir  # noqa: E402
from tools.nir_graphs.reading import MODULES, _Neurons  # noqa: E402
from tools.nir_graphs.writing import lif_node  # noqa: E402

NETWORKS = {
    "ma_snn_dvsgestures": ({"width": 0.25, "T": 6}, (6, 3, 2, 32, 32)),
    "ma_snn_cifar10dvs": ({"width": 0.125, "T": 3}, (3, 2, 2, 128, 128)),
    "sma_vgg8_dvs128": ({"width": 0.0625, "T": 3, "attention": False}, (3, 2, 2, 128, 128)),
    "ms_resnet18_cifar": ({"width": 4, "T": 3}, (3, 2, 3, 32, 32)),
    "ms_resnet18": ({"width": 8, "T": 3, "num_classes": 5}, (3, 2, 3, 32, 32)),
    "ms_resnet104": ({"width": 4, "T": 2, "num_classes": 5, "blocks": (1, 1, 1, 1)}, (2, 2, 3, 32, 32)),
}


def network(name):
    """A network and frames `[T, B, C, H, W]`, the same one for images."""
    kwargs, shape = NETWORKS[name]
    model = lively(timm.create_model(name, **kwargs))
    frames = torch.poisson(torch.ones(shape))
    return model, frames if shape[2] == 2 else frames[:1].expand(shape)


def fed(model, frames):
    """The frames as `model` takes them."""
    if frames.shape[2] == 3:
        return frames[0]
    return frames if type(model).__name__ == "VGG8" else frames.transpose(0, 1)


@torch.no_grad()
def recorded(model, kinds, x):
    """Output of `model`, and output of each call of modules of these kinds by a name without dots."""
    calls = {}

    def hook(name):
        return lambda module, inputs, output: calls.setdefault(name, []).append((module, output))

    named = [(name, module) for name, module in model.named_modules() if isinstance(module, kinds)]
    handles = [module.register_forward_hook(hook(name.replace(".", "_"))) for name, module in named]
    output = model(x)
    for handle in handles:
        handle.remove()
    return output, calls


def spikes_here(model, x):
    """Spikes `[T, B, ...]` of each neuron layer, by the name that it has in the graph."""
    output, calls = recorded(model, NEURONS, x)
    names = (
        (name if number == 1 else f"{name}_call{number}", call)
        for name, all_calls in calls.items()
        for number, call in enumerate(all_calls, 1)
    )
    return output, {name: spikes.movedim(module.time_dim, 0) for name, (module, spikes) in names}


def spikes_read_back(graph, frames):
    (output, _), calls = recorded(graph, _Neurons, frames)
    return output, {name: spikes for name, ((_, spikes),) in calls.items()}


@pytest.fixture(params=NETWORKS)
def written(request, tmp_path):
    model, frames = network(request.param)
    save_nir(model, fed(model, frames), tmp_path / "network.nir")
    return model, frames, tmp_path / "network.nir"


def test_every_layer_fires_the_same_spikes_after_a_round_trip(written):
    model, frames, path = written
    _, here = spikes_here(fold_for_inference(model), fed(model, frames))
    _, back = spikes_read_back(load_nir(path), frames)
    assert here.keys() == back.keys()
    assert all(torch.equal(here[name], back[name]) for name in here)
    assert sum(spikes.mean() > 0.01 for spikes in here.values()) > len(here) / 2


def test_output_averaged_over_time_is_that_of_the_network(written):
    model, frames, path = written
    expected, _ = spikes_here(model, fed(model, frames))
    output, _ = spikes_read_back(load_nir(path), frames)
    if expected.ndim == 3:  # every step's logits, of VGG8 [T, B, K], of the others [B, T, K]
        expected = expected.mean(0 if type(model).__name__ == "VGG8" else 1)
    torch.testing.assert_close(output.mean(0), expected, rtol=1e-5, atol=1e-5)


class EulerLIF(nn.Module):
    """NIR's definition of LIF, one step at a time, without anything of this repository."""

    def __init__(self, node):
        super().__init__()
        self.node = {
            key: torch.from_numpy(getattr(node, key)) for key in ("tau", "r", "v_leak", "v_threshold", "v_reset")
        }

    def forward(self, x, state=None):
        p = self.node
        v = torch.zeros_like(x) if state is None or "v" not in state else state["v"]
        v = v + 1.0 / p["tau"] * ((p["v_leak"] - v) + p["r"] * x)
        z = (v > p["v_threshold"]).to(x.dtype)
        return z, {"v": torch.where(z > 0, p["v_reset"], v)}


@pytest.mark.parametrize("name", ["ma_snn_dvsgestures", "sma_vgg8_dvs128", "ms_resnet18_cifar"])
def test_a_reader_that_knows_only_nir_fires_the_same_output_spikes(name, tmp_path):
    model, frames = network(name)
    save_nir(model, fed(model, frames), tmp_path / "network.nir")
    layers = {kind: made for kind, made in MODULES.items() if kind is not nir.LIF}
    graph = nirtorch.nir_to_torch(nir.read(tmp_path / "network.nir"), {**layers, nir.LIF: EulerLIF}, {}).double()
    state, outputs = None, []
    with torch.no_grad():
        for frame in frames.double():
            output, state = graph(frame[None], state)
            outputs.append(output[0])
    expected, _ = spikes_read_back(load_nir(tmp_path / "network.nir"), frames)
    torch.testing.assert_close(torch.stack(outputs).float(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strict, fired", [(False, 1.0), (True, 0.0)])
def test_a_tie_is_decided_as_the_neuron_here_decides_it(strict, fired):
    node = lif_node(LIFParameters(tau=1.0, threshold=0.3, strict=strict), (1,))
    potential = np.float32(0.3)  # with tau = 1 the membrane is the input
    assert float(potential > node.v_threshold[0]) == fired


def test_discretisation_and_tie_rule_are_in_the_metadata(tmp_path):
    model, frames = network("ma_snn_dvsgestures")
    save_nir(model, fed(model, frames), tmp_path / "network.nir")
    graph = nir.read(tmp_path / "network.nir")
    assert graph.metadata["discretisation"].startswith("forward Euler")
    assert graph.metadata["readout"] == "mean over time of the output"
    assert graph.nodes["FC0_network_IF"].metadata["fires"] == "v >= 0.3"


@pytest.mark.parametrize(
    "name, kwargs, shape, message",
    [
        ("sma_vgg8_dvs128", {"T": 2, "width": 0.0625}, (2, 1, 2, 32, 32), r"in block2\.1 \(SMA\)"),
        ("ma_snn_dvsgestures", {"T": 5, "attention": "TA"}, (1, 5, 2, 32, 32), r"attention\.ta \(TemporalAttention\)"),
        ("ma_snn_dvsgestures", {"T": 2, "neuron": "liaf"}, (1, 2, 2, 32, 32), "its output is not spikes"),
        ("ma_snn_dvsgestures", {"T": 2, "beta": 0.1}, (1, 2, 2, 32, 32), "beta"),
        ("gac_ms_resnet18_cifar", {"T": 2, "width": 4}, (1, 3, 32, 32), r"in encoding\.TA \(TA\)"),
        ("att_ms_resnet18", {"T": 2, "width": 8}, (1, 3, 32, 32), r"\(ChannelAttention\)"),
    ],
)
def test_what_nir_lacks_is_refused_by_the_name_of_the_module(name, kwargs, shape, message):
    with pytest.raises(UserError, match=message):
        to_nir(timm.create_model(name, **kwargs), torch.zeros(shape))


def test_soft_reset_is_refused():
    with pytest.raises(UserError, match="its reset subtracts the threshold"):
        to_nir(nn.Sequential(LIFNode(reset="soft")), torch.zeros(2, 1, 3, 4, 4))


@pytest.mark.parametrize("content", [None, b"no HDF5"])
def test_a_file_that_is_no_graph_is_named(content, tmp_path):
    if content:
        (tmp_path / "network.nir").write_bytes(content)
    with pytest.raises(UserError, match=r"network\.nir"):
        load_nir(tmp_path / "network.nir")


def test_neurons_that_one_euler_step_does_not_make_ours_are_refused(tmp_path):
    node = lif_node(LIFParameters(), (2,))
    node.v_leak = np.ones(2)
    nir.write(tmp_path / "foreign.nir", nir.NIRGraph.from_list(node))
    with pytest.raises(UserError, match="no neuron here has"):
        load_nir(tmp_path / "foreign.nir")
