"""Any checkpoint as safetensors and back, to the bit."""

import pytest
import safetensors.torch
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.training import load_weights, save_checkpoint
from tests.tools.weights.conftest import CREATE, MODEL
from tools.papers import papers
from tools.weights.files import read_card, write_weights

KWARGS = ["--model", MODEL, "--kwargs", *(f"{key}={value}" for key, value in CREATE.items())]
NETWORKS = {
    "sma_vgg8_dvs128": {"T": 4, "num_classes": 3, "width": 0.0625},
    "ma_snn_dvsgestures": {"attention": "TCSA", "width": 0.125},
    "gac_ms_resnet18_cifar": {"T": 2, "width": 8},
    "gac_ms_resnet18": {"T": 2, "width": 8, "num_classes": 5},
    "ms_resnet18": {"T": 1, "width": 8, "num_classes": 5},
    MODEL: CREATE,
    "sdt_v3_5m": {"embed_dim": (8, 16, 32, 32), "depth": 4, "num_classes": 5},
}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_each_paper_survives_the_way_there_and_back(tool, tmp_path, name):
    papers()
    create = NETWORKS[name]
    model = timm.create_model(name, **create)
    torch.save(model.state_dict(), tmp_path / "trained.pth")
    network = ["--model", name, "--kwargs", *(f"{key}={value}" for key, value in create.items())]
    tool("convert", tmp_path / "trained.pth", *network)
    tool("convert", tmp_path / "trained.safetensors", *network, "--to", "torch", "--output", tmp_path / "back.pth")
    for file in ("trained.safetensors", "back.pth"):
        fresh = timm.create_model(name, **create)
        load_weights(fresh, tmp_path / file)
        assert_equal(fresh.state_dict(), model.state_dict())


@given(
    st.dictionaries(
        st.text("abcxyz._0123456789", min_size=1),
        st.tuples(
            st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool]),
            st.lists(st.integers(0, 3), max_size=4),
        ),
        min_size=1,
    )
)
def test_every_type_and_shape_is_kept(tmp_path_factory, described):
    state = {key: (9 * torch.randn(shape)).to(dtype) for key, (dtype, shape) in described.items()}
    path = tmp_path_factory.mktemp("weights") / "any.safetensors"
    facts = dict.fromkeys(("name", "paper", "model", "create", "source", "source_file", "source_sha256"), "")
    write_weights(path, state, **facts, source_size=0, imported="")
    assert_equal(safetensors.torch.load_file(path), state)


def test_a_view_is_written_as_what_it_shows(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    facts = dict.fromkeys(("name", "paper", "model", "create", "source", "source_file", "source_sha256"), "")
    state = {"transposed": whole.T, "row": whole[1], "whole": whole}
    write_weights(tmp_path / "views.safetensors", state, **facts, source_size=0, imported="")
    assert_equal(safetensors.torch.load_file(tmp_path / "views.safetensors"), state)


def test_a_training_checkpoint_of_ours_is_converted(tool, tmp_path, trained):
    save_checkpoint(tmp_path / "checkpoint.pt", {"model": trained.state_dict(), "epoch": 3})
    tool("convert", tmp_path / "checkpoint.pt", *KWARGS)
    assert_equal(safetensors.torch.load_file(tmp_path / "checkpoint.safetensors"), trained.state_dict())


def test_the_card_tells_network_and_origin(tool, tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / "a.pth")
    tool("convert", tmp_path / "a.pth", *KWARGS, "--output", tmp_path / "b.safetensors")
    card = read_card(tmp_path / "b.safetensors")
    assert (card.name, card.paper, card.model, card.create) == ("b", "spikingformer", MODEL, CREATE)
    assert (card.source, card.source_file) == (str(tmp_path / "a.pth"), "a.pth")


def test_stored_weights_are_exported_by_their_name(tool, tmp_path, trained, published, monkeypatch):
    (tmp_path / "best.pth").write_bytes(published)
    tool("import", "small", tmp_path / "best.pth")
    monkeypatch.chdir(tmp_path)
    tool("convert", "small", *KWARGS, "--to", "torch")
    assert_equal(torch.load(tmp_path / "small.pth", weights_only=True), trained.state_dict())


def test_another_network_is_refused(tool, tmp_path):
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=f"a.pth does not fit {MODEL}"):
        tool("convert", tmp_path / "a.pth", *KWARGS)
    assert not (tmp_path / "a.safetensors").exists()


def test_a_file_is_not_overwritten_by_its_conversion(tool, tmp_path, trained):
    safetensors.torch.save_file(trained.state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="would be overwritten by its own conversion; give another --output"):
        tool("convert", tmp_path / "a.safetensors", *KWARGS)
