import argparse
import os

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from common.errors import UserError
from common.training import load_checkpoint, load_weights, save_checkpoint


def network(outputs=2):
    torch.manual_seed(outputs)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, outputs))


@pytest.fixture
def trained():
    model = network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    return model


def weights_of(model):
    return {key: value.tolist() for key, value in model.state_dict().items()}


def published(name, state):
    """A file as one of the ways in which weights are published."""
    return {
        "bare": state,
        "model": {"model": state, "epoch": 3},
        "state_dict": {"state_dict": state, "arch": "vit_snn"},
        "net": {"net": state, "acc": 91.5, "acc_record": [90.0, 91.5]},
        "parallel": {f"module.{key}": value for key, value in state.items()},
        "arguments": {"model": state, "args": argparse.Namespace(lr=0.1, resume="")},
        "numpy scalars": {"model": state, "acc": np.float64(91.5), "epoch": np.int64(3), "best": np.bool_(True)},
    }[name]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["bare", "model", "state_dict", "net", "parallel", "arguments", "numpy scalars"])
def test_weights_load_however_they_are_wrapped(tmp_path, trained, name, legacy):
    path = tmp_path / "weights.t7"
    torch.save(published(name, trained.state_dict()), path, _use_new_zipfile_serialization=not legacy)
    model = network()
    load_weights(model, path)
    assert weights_of(model) == weights_of(trained)


def test_weights_load_from_safetensors(tmp_path, trained):
    safetensors.torch.save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    model = network()
    load_weights(model, tmp_path / "weights.safetensors")
    assert weights_of(model) == weights_of(trained)


def test_weights_load_from_a_training_checkpoint(tmp_path, trained):
    save_checkpoint(tmp_path / "checkpoint.pt", {"model": trained.state_dict()})
    model = network()
    load_weights(model, tmp_path / "checkpoint.pt")
    assert weights_of(model) == weights_of(trained)


def test_only_a_leading_module_is_stripped(tmp_path):
    model = nn.Sequential()
    model.add_module("module", nn.Linear(2, 2))
    outer = nn.Sequential()
    outer.add_module("block", model)
    torch.save(
        {f"module.{key}": torch.ones_like(value) for key, value in outer.state_dict().items()}, tmp_path / "w.pt"
    )
    load_weights(outer, tmp_path / "w.pt")
    assert outer.block.module.bias.tolist() == [1.0, 1.0]


def test_weights_of_another_shape_are_listed(tmp_path):
    torch.save(network(5).state_dict(), tmp_path / "five.pt")
    with pytest.raises(
        UserError, match=r"2 of another shape \(1.weight \(5, 4\) for \(2, 4\), 1.bias \(5,\) for \(2,\)\)"
    ):
        load_weights(network(2), tmp_path / "five.pt")


def test_missing_and_unexpected_weights_are_counted_and_the_first_few_named(tmp_path):
    torch.save({f"other.{index}": torch.ones(1) for index in range(5)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"4 missing .*; 5 unexpected \(other.0, other.1, other.2, \.\.\.\)"):
        load_weights(network(), tmp_path / "other.pt")


def test_weights_that_fit_in_part_change_nothing(tmp_path, trained):
    state = trained.state_dict()
    del state["1.bias"]
    torch.save(state, tmp_path / "part.pt")
    model = network()
    before = weights_of(model)
    with pytest.raises(UserError):
        load_weights(model, tmp_path / "part.pt")
    assert weights_of(model) == before


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": "resnet"}, {"a": 1}], ids=str)
def test_a_file_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(UserError, match="holds no weights"):
        load_weights(network(), tmp_path / "file.pt")


class Code:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, legacy):
    torch.save({"model": Code(tmp_path / "trace")}, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UserError, match=r"holds code .*mkdir"):
        load_weights(network(), tmp_path / "w.pt")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["file.pt", "file.safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x80", b"<html>not found</html>", bytes(range(256)) * 4], ids=len)
def test_a_foreign_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        load_weights(network(), tmp_path / name)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_checkpoint_is_refused(tmp_path, kept, legacy):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": network().state_dict()}, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read"):
        load_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=f"there is no file {tmp_path / 'none.pt'}"):
        load_checkpoint(tmp_path / "none.pt")


def test_plain_weights_are_no_checkpoint(tmp_path):
    torch.save(network().state_dict(), tmp_path / "best.pt")
    with pytest.raises(UserError, match=r"best.pt is not a training checkpoint .* --weights"):
        load_checkpoint(tmp_path / "best.pt")


def test_a_checkpoint_of_a_newer_format_is_refused(tmp_path):
    save_checkpoint(tmp_path / "checkpoint.pt", {"version": 99})
    with pytest.raises(UserError, match="has checkpoint format 99, this installation reads up to 1"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_all_differences_of_the_metadata_are_listed(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {}, {"model": "sma_vgg8_dvs128", "T": 16, "num_classes": 11})
    with pytest.raises(UserError, match="T is 16 there, 10 here; num_classes is 11 there, 10 here"):
        load_checkpoint(tmp_path / "c.pt", {"model": "sma_vgg8_dvs128", "T": 10, "num_classes": 10})


def test_a_fact_that_only_the_checkpoint_states_is_a_difference(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {}, {"T": 16})
    with pytest.raises(UserError, match="T is 16 there, None here"):
        load_checkpoint(tmp_path / "c.pt", {})


def test_arguments_may_differ(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {}, {"T": 4, "args": {"epochs": 1}})
    assert load_checkpoint(tmp_path / "c.pt", {"T": 4, "args": {"epochs": 2}})["metadata"]["args"] == {"epochs": 1}


def test_metadata_may_hold_paths_and_tuples(tmp_path):
    metadata = {"size": (128, 128), "args": {"output_dir": tmp_path}}
    save_checkpoint(tmp_path / "c.pt", {}, metadata)
    assert load_checkpoint(tmp_path / "c.pt", metadata)["metadata"]["size"] == [128, 128]


def test_an_interrupted_write_keeps_the_old_checkpoint(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {"epoch": 1})
    with pytest.raises(AttributeError):
        save_checkpoint(tmp_path / "c.pt", {"epoch": 2, "cannot be pickled": lambda: None})
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]
