import pytest
import safetensors.torch
import torch
from torch import nn

from common.errors import UserError
from common.training import load_weights
from common.weights import locate, store_folder, weights_file


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A store of this test with one file, and a working folder beside it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    store_folder().mkdir(parents=True)
    safetensors.torch.save_file({"weight": torch.ones(1, 2)}, weights_file("stored"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_the_store_follows_torch_home(tmp_path):
    assert store_folder() == tmp_path / "home" / "hub" / "spiking-papers"


def test_a_name_is_found_in_the_store():
    assert locate("stored") == weights_file("stored")


def test_an_existing_file_is_itself(tmp_path):
    (tmp_path / "work" / "stored").touch()
    assert not locate("stored").is_absolute()


def test_a_folder_of_the_same_name_is_no_file(tmp_path):
    (tmp_path / "work" / "stored").mkdir()
    assert locate("stored") == weights_file("stored")


def test_a_name_that_is_nowhere_is_told_with_both_places():
    message = rf"no file best and no {weights_file('best')}: check the path.*`python tools/fetch_weights.py fetch best`"
    with pytest.raises(UserError, match=message):
        locate("best")


@pytest.mark.parametrize("path", ["output/best", "/best", "../spiking-papers/stored", ""])
def test_a_path_is_no_name(path):
    with pytest.raises(UserError, match=r"there is no file .*; check the path, or give a name"):
        locate(path)


def test_weights_are_loaded_by_name():
    layer = nn.Linear(2, 1, bias=False)
    load_weights(layer, "stored")
    assert layer.weight.tolist() == [[1.0, 1.0]]
