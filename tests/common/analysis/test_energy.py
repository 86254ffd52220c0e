"""Energy from operation counts: the published totals, and the original counter's figures layer by layer."""

import pytest
import timm
import torch
from torch import nn

from common.analysis.energy import Formula, energy, with_heads
from common.analysis.operations import LayerOperations, count_operations
from spikingformer import PAPER
from spikingformer.published import energy_logs, logged_layers
from tests.parity.harness import calibrate, close, fixtures, load
from tests.parity.seeded import load_seeded_weights, seeded_input

LOGS = energy_logs()
STAGES = {"spikingformer": "spikingformer_8_384", "cml": "cml_spikingformer_8_384"}


@pytest.mark.parametrize("name", LOGS)
def test_published_energy_follows_from_the_published_rates(name):
    assert energy(logged_layers(LOGS[name]), PAPER.energy).millijoules == pytest.approx(
        LOGS[name]["reported_energy_mJ"], rel=1e-8
    )


@pytest.mark.parametrize("size, millijoules", [("8_512", 7.4635), ("8_768", 13.6589)])
def test_energy_table_of_the_paper(size, millijoules):
    total = energy(logged_layers(LOGS[f"spikingformer_{size}"]), PAPER.energy)
    assert round(total.millijoules, 4) == millijoules


def test_published_energy_of_the_widest_network_counts_12_heads_instead_of_8():
    layers = with_heads(logged_layers(LOGS["spikingformer_8_768"]), 8)
    assert round(energy(layers, PAPER.energy).millijoules, 4) == 13.6747


def test_energy_of_8_384_is_consistent_with_its_published_additions():
    """No log of it exists: its MACs, which are fixed, with the 3.88 G additions of the table give the table's 4.69."""
    convolution, head = 4 * 27 * 48 * 224**2, 384 * 1000 + 1000
    layers = [
        LayerOperations("stem and head", "conv", convolution + head, 0.0, convolution + head, (1.0,)),
        LayerOperations("spiking", "conv", 3.88e9, 3.88e9, 0.0, (0.2,)),
    ]
    assert round(energy(layers, PAPER.energy).millijoules, 2) == 4.69


def frames(meta):
    """The batches of an energy fixture as the original counts them: the stem at each of the T steps."""
    for drawn in meta["inputs"]:
        image = torch.from_numpy(seeded_input(drawn["kind"], drawn["shape"], drawn["seed"]))
        yield image.unsqueeze(1).repeat(1, meta["kwargs"]["time_steps"], 1, 1, 1)


@pytest.fixture(scope="module", params=fixtures("spikingformer", "energy_*"))
def counted(request):
    meta, expected = load(request.param)
    k = meta["kwargs"]
    sizes = {name: k[name] for name in ("embed_dim", "num_heads", "depth", "num_classes")}
    model = timm.create_model(STAGES[k["downsampling"]], img_size=k["image_size"], T=k["time_steps"], **sizes).double()
    load_seeded_weights(model)
    batches = list(frames(meta))
    calibrate(model, lambda: model(batches[0]))
    return meta, expected, count_operations(model, batches)


def test_operations_of_every_layer_equal_the_original_counter(counted):
    meta, expected, layers = counted
    by_name = {layer.name: layer for layer in layers}
    rows = [
        [layer.operations, layer.ac, layer.mac, 100 * layer.rates[0]] for layer in (by_name[n] for n in meta["layers"])
    ]
    close(torch.tensor(rows, dtype=torch.float64), expected["layer_costs"], "layer_costs")


def test_layers_are_those_of_the_original_counter_and_the_attention(counted):
    meta, _, layers = counted
    assert {layer.name for layer in layers if layer.kind != "attention"} == set(meta["layers"])
    assert [layer.name for layer in layers if layer.kind == "attention"] == [
        f"block.{i}.attn.attention" for i in range(meta["kwargs"]["depth"])
    ]


def test_reported_energy_equals_the_original(counted):
    _, expected, layers = counted
    total = energy(layers, PAPER.energy)
    close([total.mac * 1e-9, total.ac * 1e-9, total.millijoules], [expected[n] for n in ("mac_G", "ac_G", "energy_mJ")])


def test_network_totals_equal_the_original(counted):
    _, expected, layers = counted
    modules = [layer for layer in layers if layer.kind != "attention"]
    totals = [sum(getattr(layer, column) for layer in modules) for column in ("operations", "ac", "mac")]
    close(totals, expected["network_totals"][:3])


def test_kinds_that_a_formula_leaves_out_are_free():
    layers = [LayerOperations("bn", "norm", 1e9, 0.0, 1e9, (1.0,))]
    assert energy(layers, Formula()).millijoules == 0
    assert energy(layers, Formula(kinds=("norm",))).millijoules == pytest.approx(4.6)


def test_network_of_another_paper_is_counted():
    model = nn.Sequential(nn.Conv3d(2, 4, (1, 3, 3), padding=(0, 1, 1)), nn.Flatten(), nn.Linear(4 * 2 * 8 * 8, 5))
    layers = count_operations(model, [torch.randn(3, 2, 2, 8, 8)])
    assert [layer.operations for layer in layers] == [4 * 2 * 8 * 8 * (2 * 9 + 1), 5 * (4 * 2 * 8 * 8 + 1)]
