"""Which networks export, to what, and what the refusals say."""

import json
import re
import subprocess
import sys
from functools import partial

import pytest
import timm
import torch

from common.errors import UserError
from common.kernels import use, use_convolution
from common.predict import Predictor
from tests.tools.small_networks import SMALL_NETWORKS, lively
from tools import export
from tools.networks import build, number_of_classes
from tools.papers import cards
from tools.programs import export_program

KWARGS = ["width=0.125", "T=2"]
SMALL = ["ma_snn_dvsgestures", "--kwargs", *KWARGS, "--input-shape", "1", "2", "2", "32", "32"]


@pytest.fixture
def weights(tmp_path):
    """A file of weights with which the small network fires."""
    path = tmp_path / "weights" / "weights.pth"
    path.parent.mkdir()
    torch.save(lively(build("ma_snn_dvsgestures", KWARGS)).state_dict(), path)
    return path


EXPORTED = [small for small in SMALL_NETWORKS if not re.search("mae|_det_", small.id)]
EXAMPLES = [{family.example for family in card.families} for card in cards().values()]
FIRST = [next(small for small in EXPORTED if small.values[0] in examples) for examples in EXAMPLES]


@pytest.mark.parametrize("name, kwargs", FIRST)
def test_the_first_family_of_every_paper_exports(name, kwargs):
    check_export(name, kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("name, kwargs", [small for small in EXPORTED if small not in FIRST])
def test_every_other_family_exports(name, kwargs):
    check_export(name, kwargs)


@torch.no_grad()
def check_export(name, kwargs):
    """The program takes any number of samples and gives exactly the output of the network."""
    model = lively(build(name, kwargs))
    layout = model.layout.at(32, T=4)
    program = export_program(model, torch.rand(layout.shape(2)), layout.batch_axis).module()
    x = torch.rand(layout.shape(3))
    with use_convolution("dense"):  # as programs convolve
        expected = model(x)
    assert expected.std() > 0
    assert torch.equal(program(x), expected)


def test_the_file_holds_the_network_with_its_weights(weights, tmp_path):
    export.main([*SMALL, "--weights", str(weights), "--output", str(tmp_path / "network.pt2")])
    model = build("ma_snn_dvsgestures", KWARGS).eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    x = torch.rand(5, 2, 2, 32, 32)
    with torch.no_grad():
        assert torch.equal(torch.export.load(tmp_path / "network.pt2").module()(x), model(x))


def test_the_shape_is_the_networks_own_unless_told(tmp_path, capsys):
    export.main([*SMALL[:4], "--output", str(tmp_path / "network.pt2")])
    assert "takes [any, 2, 2, 32, 32]" in capsys.readouterr().out


def test_neurons_are_operators_of_this_repository():
    program = export_program(build("ma_snn_dvsgestures", KWARGS), torch.rand(2, 2, 2, 32, 32))
    assert any(node.target is torch.ops.spiking_papers.neuron.default for node in program.graph.nodes)


def test_a_program_of_plain_operations_runs_without_this_repository(tmp_path):
    with use("torch"):
        export.main([*SMALL, "--output", str(tmp_path / "alone.pt2")])
    script = (
        "import sys, torch; m = torch.export.load(sys.argv[1]).module(); print(*m(torch.rand(3, 2, 2, 32, 32)).shape)"
    )
    command = [sys.executable, "-I", "-c", script + "; assert 'common' not in sys.modules", str(tmp_path / "alone.pt2")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["3", "11"]


@torch.no_grad()
def check_onnx(name, kwargs, folder):
    """ONNX Runtime gives the output of the network for another number of samples."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = lively(build(name, kwargs))
    layout = model.layout.at(32, T=4)
    said = export.write_onnx(model, layout.shape(), folder / "network.onnx")
    assert "equal to the network to 1e-05 on 4 random samples" in said
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    x = torch.rand(layout.shape(3))
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert torch.allclose(torch.from_numpy(found), model(x), atol=1e-5)


def test_an_onnx_graph_gives_the_output_of_the_network(tmp_path):
    check_onnx("ma_snn_dvsgestures", ["width=0.125"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name, kwargs", EXPORTED)
def test_every_family_has_an_onnx_graph(name, kwargs, tmp_path):
    check_onnx(name, kwargs, tmp_path)


@pytest.mark.slow
def test_an_onnx_graph_of_other_weights_is_not_written(tmp_path):
    graphs = pytest.importorskip("tools.onnx_graphs")
    model, other = (lively(build("sdt_v3_tiny", ["depth=1", "num_classes=3"])) for _ in range(2))
    with use("torch"), pytest.raises(UserError, match=r"network\.onnx was not written: .* for 16 of 16 random samples"):
        program = export_program(other, torch.rand(2, 3, 32, 32))
        graphs.save_onnx(program, tmp_path / "network.onnx", model, (torch.rand(1, 3, 32, 32) for _ in range(20)))
    assert not list(tmp_path.iterdir())


def test_onnx_without_its_extra_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tools.onnx_graphs", None)
    with pytest.raises(UserError, match=r'pip install "spiking-papers\[onnx\]"'):
        export.main([*SMALL, "--format", "onnx", "--output", str(tmp_path / "network.onnx")])


@pytest.fixture
def hub(weights, tmp_path):
    """A folder for the Hugging Face hub."""
    facts = {"model": "ma_snn_dvsgestures", "create": {"width": 0.125, "T": 2}, "classes": [f"c{i}" for i in range(11)]}
    weights.with_suffix(".json").write_text(json.dumps(facts))
    export.main([SMALL[0], "--weights", str(weights), "--format", "hub", "--output", str(tmp_path / "hub")])
    return tmp_path / "hub"


def test_timm_loads_a_folder_of_the_hub(hub, weights):
    model = timm.create_model(f"local-dir:{hub}", pretrained=True)
    trained = torch.load(weights, weights_only=True)
    assert all(torch.equal(value, trained[key]) for key, value in model.state_dict().items())
    assert (model.T, model.num_classes) == (2, 11)


def test_timm_loads_a_folder_by_its_configuration(hub, weights):
    kwargs = {"width": 0.125, "T": 2, "pretrained": True, "pretrained_cfg_overlay": {"file": str(hub)}}
    model = timm.create_model("ma_snn_dvsgestures", **kwargs)
    assert torch.equal(next(model.parameters()), next(iter(torch.load(weights, weights_only=True).values())))


def test_a_head_for_other_classes_stays_new(hub):
    model = timm.create_model(f"local-dir:{hub}", pretrained=True, num_classes=3)
    assert model.num_classes == 3


def test_a_folder_of_the_hub_tells_its_network_and_classes(hub):
    assert sorted(path.name for path in hub.iterdir()) == [
        "README.md",
        "config.json",
        "model.json",
        "model.safetensors",
    ]
    assert json.loads((hub / "config.json").read_text())["label_names"][10] == "c10"
    text = (hub / "README.md").read_text()
    assert "import ma_snn" in text and "`width=0.125`, `T=2`" in text and "c9, c10" in text
    assert Predictor(hub / "model.safetensors").classes[3] == "c3"


def test_a_network_without_weights_says_how_to_name_them():
    with pytest.raises(UserError, match=r"sdt_v3_5m ships no weights; .*'local-dir:FOLDER'"):
        timm.create_model("sdt_v3_5m", pretrained=True)


def test_weights_on_the_hub_are_asked_for_by_name_and_revision(hub, monkeypatch):
    asked = []

    def download(name, file, revision, cache_dir):
        asked.append((name, file, revision))
        if revision is None:
            raise OSError("no network\nat all")
        return str(hub / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    load = partial(timm.create_model, SMALL[0], width=0.125, T=2, pretrained=True)
    assert load(pretrained_cfg_overlay={"hf_hub_id": "me/net@v2"}).T == 2
    with pytest.raises(
        UserError, match=r"model\.safetensors of me/net from the hub: no network; check name and network"
    ):
        load(pretrained_cfg_overlay={"hf_hub_id": "me/net"})
    assert asked == [("me/net", "model.safetensors", "v2"), ("me/net", "model.safetensors", None)]


def test_nir_graph_is_written(tmp_path, capsys):
    pytest.importorskip("nirtorch")
    export.main([*SMALL, "--format", "nir", "--output", str(tmp_path / "network.nir")])
    assert "13 nodes, one time step" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["sdt_v3_mae_83m", "--input-shape", "1", "3", "224", "224"], "a mask that is drawn anew"),
        (["sdt_v3_det_mask_rcnn_10m", "--input-shape", "1", "3", "64", "64"], "what is in the picture"),
        (["ms_resnet18_cifar", "--kwargs", "encoding=poisson", *SMALL[-6:]], "choose --kwargs without `encoding`"),
        ([*SMALL[:-1], "16"], "cannot trace AttentionSNN with an input of shape [2, 2, 2, 32, 16]"),
        ([*SMALL[:-5], "0", "3"], "--input-shape 0 3 is no batch"),
        (["no_such_net", *SMALL[-6:]], "unknown network 'no_such_net'"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(arguments, message, tmp_path):
    with pytest.raises(UserError) as error:
        export.main([*arguments, "--output", str(tmp_path / "network.pt2")])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_is_written_when_the_program_gives_another_output(weights, tmp_path, monkeypatch):
    untrained = build("ma_snn_dvsgestures", KWARGS)
    monkeypatch.setattr(export, "export_program", lambda model, x, axis: export_program(untrained, x, axis))
    with pytest.raises(UserError, match="gives another output than AttentionSNN"):
        export.main([*SMALL, "--weights", str(weights), "--output", str(tmp_path / "network.pt2")])
    assert not list(tmp_path.glob("*.pt2"))


def test_nir_without_its_extra_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tools.nir_graphs", None)
    with pytest.raises(UserError, match=r'pip install "spiking-papers\[nir\]"'):
        export.main([*SMALL, "--format", "nir", "--output", str(tmp_path / "network.nir")])


@pytest.mark.slow
@pytest.mark.parametrize("name, kwargs", EXPORTED)
def test_the_number_of_classes_is_that_of_the_outputs(name, kwargs):
    model = build(name, kwargs).eval()
    with torch.no_grad():
        output = model(torch.rand(model.layout.at(32, T=4).shape()))
    assert number_of_classes(model) == output.shape[1 if output.ndim == 4 and "seg" in name else -1]
