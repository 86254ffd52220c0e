import argparse
import collections
import datetime
import os
import pathlib
import resource
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from common.errors import UserError
from common.training import load_checkpoint, load_weights, save_checkpoint
from common.training.checkpoint import read_file


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


FOREIGN = {
    b"": "is an empty file",
    b"\x80\x02}.": "is a pickle that torch.save did not write",
    b"<html>not found</html>": "is a web page",
    b"version https://git-lfs.github.com/spec/v1\n": "is a Git LFS pointer",
    b"\x1f\x8b": "is a compressed archive",
    b"\x89HDF\r\n": "is an HDF5 file",
    bytes(range(256)) * 4: "it begins with",
    (1 << 20).to_bytes(8, "little") + b"{": "cannot be read as a torch or safetensors file .* fetch it again",
}


@pytest.mark.parametrize("name", ["file.pt", "file.safetensors"])
@pytest.mark.parametrize(("content", "what"), FOREIGN.items(), ids=FOREIGN.values())
def test_a_foreign_file_is_named_for_what_it_is(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} .*{what}"):
        load_weights(network(), tmp_path / name)


def test_archives_and_folders_are_named_for_what_they_are(tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as bundle:
        bundle.extractall(tmp_path / "best.pth")
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as bundle:
        bundle.write(tmp_path / "a.pth", "run/a.pth")
    with zipfile.ZipFile(tmp_path / "script.pth", "w") as bundle:  # as torch.jit.save lays it out
        for member in ("code/__torch__.py", "constants.pkl", "data.pkl"):
            bundle.writestr(f"archive/{member}", b"")
    for name, what in {"best": "is a folder, a checkpoint that was unpacked", "b": "zip archive of run/a.pth"}.items():
        with pytest.raises(UserError, match=what):
            load_weights(network(), tmp_path / f"{name}.pth")
    with pytest.raises(UserError, match="is a TorchScript program"):
        load_weights(network(), tmp_path / "script.pth")


@pytest.mark.parametrize("names", [("a.ckpt", "a.safetensors"), ("a.safetensors", "a.pt")])
def test_the_content_decides_not_the_name(tmp_path, trained, names):
    safetensors.torch.save_file(trained.state_dict(), tmp_path / names[0])
    torch.save(trained.state_dict(), tmp_path / f"torch_{names[1]}")
    for name in (names[0], f"torch_{names[1]}"):
        model = network()
        load_weights(model, tmp_path / name)
        assert weights_of(model) == weights_of(trained)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "model."])
def test_what_wrappers_and_counters_add_is_left_out_and_said(tmp_path, capsys, trained, prefix):
    state = {f"{prefix}{key}": value for key, value in trained.state_dict().items()}
    state |= {f"{prefix}0.total_ops": torch.zeros(1), "n_averaged": torch.tensor(3)}
    torch.save({"state_dict_ema": {}, "model_state_dict": {"network": state}, "model_ema": state}, tmp_path / "w.pt")
    model = network()
    load_weights(model, tmp_path / "w.pt")
    assert weights_of(model) == weights_of(trained)
    said = capsys.readouterr().err
    assert "those under model_state_dict, not those under model_ema" in said
    assert "2 counters left out" in said and "left out of the names" in said


def test_counts_of_batches_that_old_files_lack_begin_at_0(tmp_path, capsys):
    model, state = nn.BatchNorm1d(2), nn.BatchNorm1d(2).state_dict()
    del state["num_batches_tracked"]
    torch.save(state, tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert model.num_batches_tracked == 0 and "num_batches_tracked" in capsys.readouterr().err


def test_plain_data_beside_the_weights_is_read(tmp_path, trained):
    extra = {
        "array": np.arange(6.0).reshape(2, 3).T, "big-endian": np.arange(3, dtype=">i4"), "half": np.float16(1.5),
        "byte": np.uint8(3), "text": np.str_("a"), "log": collections.defaultdict(list, {"a": [1]}),
        "path": pathlib.Path("/x/y"), "when": datetime.datetime(2023, 1, 2),
    }  # fmt: skip
    torch.save({"model": trained.state_dict(), **extra}, tmp_path / "w.pt")
    found = read_file(tmp_path / "w.pt")
    for key in ("array", "big-endian", "half", "byte", "text"):
        assert np.array_equal(found[key], extra[key]), key
    assert (found["log"], found["path"], found["when"]) == ({"a": [1]}, pathlib.PurePosixPath("/x/y"), extra["when"])


class Forged:
    """Pickles as a NumPy object whose memory would be read as addresses."""

    def __init__(self, kind, shape, content):
        self.state = (1, shape, kind, False, content)

    def __reduce__(self):
        return (*np.empty(0).__reduce__()[:2], self.state)


@pytest.mark.parametrize(
    ("kind", "shape", "content"), [(np.dtype("O"), (1,), b"A" * 8), (np.dtype("f8"), (1 << 40,), b"A" * 8)]
)
def test_forged_arrays_are_refused(tmp_path, kind, shape, content):
    torch.save({"x": Forged(kind, shape, content)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt cannot be read .*NumPy"):
        read_file(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda x: x * torch.nan, "holds NaN"),
        (lambda x: x.int(), "is torch.int32, the model has torch.float32"),
        (lambda x: x + 1j, "is torch.complex64"),
        (lambda x: x.to_sparse(), "is no plain tensor"),
    ],
)
def test_weights_that_no_network_computes_with_are_refused(tmp_path, trained, change, problem):
    state = trained.state_dict()
    torch.save(state | {"0.bias": change(state["0.bias"])}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=f"0.bias {problem}"):
        load_weights(network(), tmp_path / "w.pt")
    if "NaN" in problem:
        model = network()
        load_weights(model, tmp_path / "w.pt", allow_nan=True)
        assert model[0].bias.isnan().all()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_checkpoint_is_refused(tmp_path, kept, legacy):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": network().state_dict()}, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match=r"checkpoint\.pt (cannot be read|is cut short).*fetch it again"):
        load_checkpoint(path)


def test_a_full_disk_is_named_and_leaves_the_old_checkpoint(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {"epoch": 1})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write .*c\.pt: File too large"):
            save_checkpoint(tmp_path / "c.pt", {"epoch": 2, "model": torch.rand(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 1


@pytest.mark.parametrize("change", [{"version": None}, {"version": "1"}, {"metadata": 3}, {"version": -1.5}])
def test_a_checkpoint_of_other_facts_is_refused(tmp_path, change):
    save_checkpoint(tmp_path / "c.pt", change)
    with pytest.raises(UserError, match="no whole checkpoint: its version or metadata"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_turned_bit_is_found_by_the_checksum(tmp_path, trained):
    save_checkpoint(tmp_path / "c.pt", {"model": trained.state_dict()})
    content = (tmp_path / "c.pt").read_bytes()
    place = content.index(trained[1].weight.detach().numpy().tobytes())
    (tmp_path / "c.pt").write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    with pytest.raises(UserError, match=r"c\.pt is damaged: the checksum of .* is wrong"):
        load_checkpoint(tmp_path / "c.pt")


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
