"""What happens to a file between a person's disk and the store."""

import argparse

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from common.errors import UserError
from tests.tools.weights.conftest import CREATE, MODEL, saved
from tests.tools.weights.test_fetch import assert_stored, stored_files
from tools.weights import files
from tools.weights.files import read_card

GAC = """
[gac.gated]
status = "manual"
link = "https://pan.baidu.com/s/1abc"
model = "gac_ms_resnet18_cifar"
create = { T = 2, num_classes = 10, width = 8 }
leftovers = ["encoding.conv_3_64."]
"""
SDT = """
[sdt_v3.large]
status = "unverified"
drive = "id-large"
model = "sdt_v3_173m"
create = { num_classes = 4, depth = 1 }
choices = { embed_dim = [[196, 384, 768], [16, 32, 64], [32, 32, 64]], kd = [true] }
"""


@pytest.fixture
def file(tmp_path, published):
    path = tmp_path / "best.pth"
    path.write_bytes(published)
    return path


def test_an_imported_file_is_stored_and_left_where_it_was(tool, home, trained, file):
    tool("import", "by_hand", file)
    assert_stored(home, "by_hand", trained)
    assert file.exists()


def test_arguments_and_numpy_scalars_beside_the_weights_do_no_harm(tool, home, trained, tmp_path):
    extras = {"args": argparse.Namespace(lr=0.1), "best": np.float64(91.5), "epoch": np.int64(3)}
    (tmp_path / "best.pth.tar").write_bytes(saved({"state_dict": trained.state_dict(), **extras}))
    tool("import", "small", tmp_path / "best.pth.tar")
    assert_stored(home, "small", trained)


def test_safetensors_are_imported(tool, home, trained, tmp_path):
    safetensors.torch.save_file(trained.state_dict(), tmp_path / "model.safetensors")
    tool("import", "small", tmp_path / "model.safetensors")
    assert_stored(home, "small", trained)


def test_a_missing_file_is_named(tool, tmp_path):
    with pytest.raises(UserError, match=f"cannot read {tmp_path / 'no.pth'}: No such file"):
        tool("import", "small", tmp_path / "no.pth")


def test_a_network_that_is_not_built_here_cannot_be_checked(tool, home, file):
    with pytest.raises(UserError, match=r"detector cannot be checked \(a detector\): weights.toml names no model"):
        tool("import", "detector", file)
    assert stored_files(home) == []


def test_the_first_hash_is_trusted_and_a_second_one_is_not(tool, home, trained, file):
    tool("import", "small", file)
    file.write_bytes(saved(timm.create_model(MODEL, **CREATE).state_dict()))
    with pytest.raises(UserError, match=rf"had \w{{64}} when it was first imported; .*remove {home}/small.json"):
        tool("import", "small", file)
    assert_stored(home, "small", trained)


def test_the_first_hash_is_forgotten_with_its_card(tool, home, file):
    tool("import", "small", file)
    (home / "small.json").unlink()
    other = timm.create_model(MODEL, **CREATE)
    file.write_bytes(saved(other.state_dict()))
    tool("import", "small", file)
    assert_stored(home, "small", other)


def test_a_file_that_changes_after_it_was_hashed_is_loaded_as_it_was(tool, home, trained, file, monkeypatch):
    def read_and_change(path):
        content = path.read_bytes()
        path.write_bytes(b"something else")
        return content, files.hashlib.sha256(content).hexdigest()

    monkeypatch.setattr("tools.weights.store.read_original", read_and_change)
    tool("import", "small", file)
    assert_stored(home, "small", trained)


@pytest.mark.parametrize("version", ["2.6.0", "2.9.1+cu128"])
def test_pickles_of_others_are_refused_by_an_unsafe_torch(tool, file, monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(UserError, match=r"which torch 2\.\S+ cannot read safely .*pip install 'torch>=2.10'"):
        tool("import", "small", file)


@pytest.mark.parametrize("version", ["2.10.0", "2.11.0+cpu"])
def test_newer_versions_read_them(tool, home, trained, file, monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", version)
    tool("import", "small", file)
    assert_stored(home, "small", trained)


def test_an_unsafe_torch_still_reads_safetensors(tool, home, trained, tmp_path, monkeypatch):
    safetensors.torch.save_file(trained.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(torch, "__version__", "2.6.0")
    tool("import", "small", tmp_path / "model.safetensors")
    assert_stored(home, "small", trained)


def test_tensors_with_several_names_are_stored_under_each(tool, lock, home, tmp_path):
    lock(GAC)
    model = timm.create_model("gac_ms_resnet18_cifar", T=2, num_classes=10, width=8)
    (tmp_path / "gac.pth").write_bytes(saved(model.state_dict()))
    tool("import", "gated", tmp_path / "gac.pth")
    assert len(model.state_dict()) == 415
    assert_stored(home, "gated", model)


def test_keys_that_the_authors_loader_ignored_are_left_out(tool, lock, home, tmp_path, capsys):
    lock(GAC)
    model = timm.create_model("gac_ms_resnet18_cifar", T=2, num_classes=10, width=8)
    state = model.state_dict() | {"encoding.conv_3_64.weight": torch.zeros(1)}
    (tmp_path / "gac.pth").write_bytes(saved(state))
    tool("import", "gated", tmp_path / "gac.pth")
    assert "left out, as the authors' loader does: encoding.conv_3_64.weight" in capsys.readouterr().out
    assert_stored(home, "gated", model)


@pytest.mark.parametrize("found", [{"embed_dim": [16, 32, 64]}, {"embed_dim": [32, 32, 64], "kd": True}], ids=str)
def test_the_file_decides_on_arguments_with_a_choice(tool, lock, home, tmp_path, found):
    lock(SDT)
    model = timm.create_model("sdt_v3_173m", num_classes=4, depth=1, **found)
    (tmp_path / "large.pth").write_bytes(saved({"model": model.state_dict()}))
    tool("import", "large", tmp_path / "large.pth")
    assert read_card(home / "large.safetensors").create == {"num_classes": 4, "depth": 1, **found}
    assert_stored(home, "large", model)


def test_the_file_cannot_decide_beyond_the_choices(tool, lock, tmp_path):
    lock(SDT)
    model = timm.create_model("sdt_v3_173m", num_classes=4, depth=1, embed_dim=[48, 32, 64])
    (tmp_path / "large.pth").write_bytes(saved({"model": model.state_dict()}))
    with pytest.raises(UserError, match="does not fit sdt_v3_173m"):
        tool("import", "large", tmp_path / "large.pth")


def test_a_foreign_network_is_compared_where_the_file_should_decide(tool, lock, file):
    lock(SDT)
    with pytest.raises(UserError, match=r"does not fit sdt_v3_173m\(num_classes=4, depth=1\)"):
        tool("import", "large", file)
