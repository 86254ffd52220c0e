"""The three VGG8 scripts as a user calls them, on a few recordings and a narrow network."""

import csv
import subprocess
import sys
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.tiny.events import write_tiny
from common.training import run
from sma import vgg8_cifar10dvs_SMA, vgg8_dvs128_SMA, vgg8_NCaltech101_SMA
from sma.train_events import main
from tests.programs import run_pair

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    module.RECIPE.dataset: module.RECIPE for module in (vgg8_cifar10dvs_SMA, vgg8_dvs128_SMA, vgg8_NCaltech101_SMA)
}
SMALL = ("--tiny", "--width", "0.0625", "--epochs", "1", "--batch-size", "4", "--device", "cpu")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Folder with a few raw recordings of each data set."""
    folder = tmp_path_factory.mktemp("recordings")
    for name in SCRIPTS:
        write_tiny(name, folder / name, classes=2, per_class=10)
    return folder


@pytest.fixture
def call(monkeypatch, tmp_path, recordings):
    """Calls a script in this process; returns its output folder."""

    def call_script(dataset, *arguments, output="out", data=None):
        folder = tmp_path / output
        data = data or recordings / dataset
        paths = ("--data-path", data, "--output-dir", folder, "--log-dir", tmp_path / "runs")
        monkeypatch.setattr(sys, "argv", [dataset, *map(str, (*paths, *SMALL, *arguments))])
        run(partial(main, SCRIPTS[dataset]))
        return folder

    return call_script


@pytest.mark.parametrize("dataset", SCRIPTS)
def test_raw_recordings_become_the_originals_result_files(call, tmp_path, dataset, capsys):
    out, script = call(dataset), SCRIPTS[dataset].script
    for name in ("train_acc", "test_acc", "loss", "test_loss"):
        assert np.load(out / f"{script}_{name}.npy").shape == (1,)
    rates = torch.load(out / "spiking_rate" / script / "spikingrate_epoch1.pt", weights_only=True)
    names = torch.load(out / "spiking_rate" / script / "name_list.pt", weights_only=True)
    assert len(rates) == len(names) == 15
    assert all(isinstance(rate, torch.Tensor) and rate.ndim == 0 for rate in rates)
    assert all(name.startswith("module.") for name in names)
    board = EventAccumulator(str(tmp_path / "runs")).Reload()
    assert "loss_epoch" in board.Tags()["scalars"]
    for part in ("train", "test"):
        (value,) = (
            EventAccumulator(str(tmp_path / f"runs/train_and_test_accuracy_{part}"))
            .Reload()
            .Scalars("train_and_test_accuracy")
        )
        assert value.value == pytest.approx(np.load(out / f"{script}_{part}_acc.npy")[-1])  # from 0 to 1
    assert (out / f"{script}_max.pt").exists()
    assert {"curves.png", "firing_rates.png", "events.png", "checkpoint.pt", "log.csv", "log.jsonl"} <= {
        path.name for path in (out / script).iterdir()
    }
    assert "not the paper's experiment" in capsys.readouterr().out


def final_weights(folder):
    return torch.load(folder / "vgg8_cifar10dvs_SMA" / "checkpoint.pt", weights_only=True)["model"]


@pytest.mark.slow
def test_a_resumed_run_ends_bit_equal(call):
    whole = call("cifar10dvs", "--epochs", "2", "--augment", output="whole")
    call("cifar10dvs", "--epochs", "1", "--augment", output="parts")
    parts = call("cifar10dvs", "--epochs", "2", "--augment", "--resume", output="parts")
    expected, actual = final_weights(whole), final_weights(parts)
    assert all(torch.equal(expected[key], actual[key]) for key in expected)


def test_saved_weights_give_the_logged_accuracy(call, capsys):
    out = call("ncaltech101")
    with (out / "vgg8_NCaltech101_SMA" / "log.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    capsys.readouterr()
    call("ncaltech101", "--test-only", "--weights", out / "vgg8_NCaltech101_SMA_max.pt")
    assert f"test accuracy {float(row['test_acc1']):.2f} % of 2 recordings" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("--no-azo",), ("--azo-version", "loop"), ("--lightweight",), ("-T", "2")])
def test_variants_run(call, flags):
    assert final_weights(call("cifar10dvs", *flags))


def test_any_folder_of_atis_recordings_gives_classes_and_sensor(call, tmp_path, recordings, capsys):
    with zipfile.ZipFile(recordings / "ncaltech101" / "Caltech101.zip") as archive:
        for member in archive.namelist():
            part = "Test" if member.endswith("0010.bin") else "Train"
            target = tmp_path / "own" / part / member.removeprefix("Caltech101/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
    call("ncaltech101", data=tmp_path / "own")
    assert "2 classes, 36 x 48 pixels, 18 training and 2 test recordings" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_from_another_folder(recordings, tmp_path):
    script, data = ROOT / "sma" / "vgg8_cifar10dvs_SMA.py", recordings / "cifar10dvs"
    pair = run_pair(script, *SMALL, "--data-path", data, flag=True, cwd=tmp_path)
    for result in pair:
        assert result.returncode == 0, result.stderr
    assert "18 training and 2 test recordings" in pair[0].stdout
    assert (tmp_path / "result_model" / "vgg8_cifar10dvs_SMA_max.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torch.distributed.launch", "torch.distributed.run"])
def test_the_launchers_start_two_processes_from_another_folder(launcher, recordings, tmp_path):
    command = [sys.executable, "-m", launcher, "--standalone", "--nproc_per_node", "2"]
    command += [str(ROOT / "sma" / "vgg8_cifar10dvs_SMA.py"), *SMALL, "--data-path", str(recordings / "cifar10dvs")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "18 training and 2 test recordings" in result.stdout
    assert (tmp_path / "result_model" / "vgg8_cifar10dvs_SMA_max.pt").exists()


def test_missing_data_name_the_folder_and_the_command(refusal, tmp_path):
    line = refusal("dvs128", data=tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in line
    assert "DvsGesture.tar.gz" in line


def test_frames_too_small_for_the_network_are_refused(refusal):
    assert "lower --downsample" in refusal("cifar10dvs", "--downsample", "8")


def test_an_empty_folder_is_refused(refusal, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refusal("cifar10dvs", data=tmp_path / "empty")


@pytest.mark.parametrize(
    "content, reason",
    [(b"#!AER-DAT2.0\r\n12345678abc", "cut short at byte"), (b"RIFF....", "expected '#!AER-DAT2.0'")],
)
def test_a_damaged_or_foreign_recording_is_named(refusal, tmp_path, content, reason):
    file = tmp_path / "raw" / "cat" / "cifar10_cat_0.aedat"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    line = refusal("cifar10dvs", data=tmp_path / "raw")
    assert reason in line
    assert "cifar10_cat_0.aedat" in line


def test_a_label_file_with_a_wrong_header_is_named(refusal, tmp_path, recordings):
    with tarfile.open(recordings / "dvs128" / "DvsGesture.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    labels = tmp_path / "DvsGesture" / "user01_screen_labels.csv"
    labels.write_text("klasse,von,bis\n1,2,3\n")
    line = refusal("dvs128", data=tmp_path / "DvsGesture")
    assert "user01_screen_labels.csv: line 1: expected the header" in line


def test_an_archive_that_climbs_out_is_refused(refusal, tmp_path):
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw" / "Caltech101.zip", "w") as archive:
        archive.writestr("../../escaped.bin", b"12345")
    assert "points outside the archive" in refusal("ncaltech101", data=tmp_path / "raw")
    assert not list(tmp_path.rglob("escaped.bin"))


@pytest.mark.parametrize("T", ["0", "-3"])
def test_no_time_steps_are_refused(refusal, T):
    assert f"-T {T}" in refusal("cifar10dvs", "-T", T)


def test_weights_of_another_T_are_refused(call, refusal):
    weights = call("cifar10dvs") / "vgg8_cifar10dvs_SMA_max.pt"
    line = refusal("cifar10dvs", "--test-only", "--weights", weights, "-T", "8", output="other")
    assert "T_before_attention_conv.weight" in line


def test_a_checkpoint_of_another_T_is_refused(call, refusal):
    out = call("cifar10dvs")
    line = refusal("cifar10dvs", "--resume", out / "vgg8_cifar10dvs_SMA" / "checkpoint.pt", "-T", "8", output="other")
    assert "T is 4 there, 8 here" in line


@pytest.mark.parametrize("flag", ["--resume", "--weights"])
def test_a_corrupt_file_is_refused(refusal, tmp_path, flag):
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 broken")
    assert "broken.pt is cut short or damaged" in refusal("cifar10dvs", flag, tmp_path / "broken.pt")


@pytest.mark.parametrize("flag", ["--resume", "--weights"])
def test_a_foreign_file_is_refused(refusal, tmp_path, flag):
    torch.save({"vocabulary": torch.zeros(3)}, tmp_path / "foreign.pt")
    assert "foreign.pt" in refusal("cifar10dvs", flag, tmp_path / "foreign.pt")


def test_an_output_folder_that_cannot_be_made_is_named(refusal, tmp_path):
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refusal("cifar10dvs", output="file/folder")


def test_testing_without_weights_is_refused(refusal):
    assert "add --weights FILE" in refusal("cifar10dvs", "--test-only")
