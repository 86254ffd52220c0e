"""The six event scripts as a user calls them, on a few recordings and a narrow network."""

import csv
import importlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from common.events.aedat import write_aedat2
from common.tiny.events import write_tiny_gait
from common.training import run
from ma_snn.data.cifar10_dvs_mat import write_tiny_cifar10dvs
from ma_snn.data.dvs_gesture_hdf5 import write_tiny_gesture
from ma_snn.models.attention import ATTENTIONS
from ma_snn.train_events import main
from tests.common.datasets.recordings import walk
from tests.marks import mostly_slow
from tests.programs import run_pair, run_program

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "DVSGestures/Att_SNN_CNN": "no_SNN(CNN)-DVS-Gesture_dt=50ms_T=6",
    "DVSGestures/Att_SNN_LIAF_CNN": "no_SNN(CNN)_LIAF-DVS-Gesture_dt=50ms_T=6",
    "CIFAR10DVS/Att_SNN": "no_SNN(CNN)-DVS-CIFAR10_dt=75ms_T=4",
    "CIFAR10DVS/Att_SNN_LIAF": "no_SNN(CNN)_LIAF-DVS-CIFAR10_dt=75ms_T=4",
    "DVSGait/Att_SNN_CNN": "no_SNN(CNN)-DVS-Gesture_dt=75ms_T=4",
    "DVSGait/Att_SNN_LIAF_CNN": "no_SNN(CNN)_LIAF-DVS-Gesture_dt=75ms_T=4",
}
"""The scripts, and what their files are called with the settings of `--tiny`."""
GESTURE, CIFAR, GAIT = "DVSGestures/Att_SNN_CNN", "CIFAR10DVS/Att_SNN", "DVSGait/Att_SNN_CNN"
SMALL = ("--tiny", "--width", "0.125", "--c_ratio", "4", "--num_epochs", "1", "--batch_size", "8", "--device", "cpu")


def recipe(script):
    return importlib.import_module(f"ma_snn.{script.replace('/', '.')}").RECIPE


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Folder with a few raw recordings of each data set."""
    folder = tmp_path_factory.mktemp("recordings")
    write_tiny_gesture(folder / "DVSGestures", classes=2, users=25)
    write_tiny_cifar10dvs(folder / "CIFAR10DVS", classes=2, per_class=10)
    write_tiny_gait(folder / "DVSGait", classes=2, per_class=10)
    return folder


@pytest.fixture
def call(monkeypatch, tmp_path, recordings):
    """Calls a script in this process; returns its output folder."""

    def call_script(script, *arguments, output="out", data=None):
        folder = tmp_path / output
        paths = ("--data-path", data or recordings / script.partition("/")[0], "--output-dir", folder)
        monkeypatch.setattr(sys, "argv", [script, *map(str, (*SMALL, *paths, *arguments))])
        run(partial(main, recipe(script)))
        return folder

    return call_script


@pytest.mark.parametrize("script", mostly_slow(SCRIPTS, GESTURE, CIFAR, "DVSGait/Att_SNN_LIAF_CNN"))
def test_raw_recordings_become_the_originals_result_files(call, script):
    out, name = call(script), SCRIPTS[script]
    assert {f"{name}.t7", f"{name}.csv", recipe(script).log, name} <= {path.name for path in out.iterdir()}
    assert {"curves.png", "firing_rates.png", "events.png", "checkpoint.pt", "log.csv"} <= {
        path.name for path in (out / name).iterdir()
    }


def saved(folder):
    (path,) = folder.glob("*.t7")
    return torch.load(path, weights_only=True)


def test_the_model_file_has_the_originals_keys(call):
    content = saved(call(GESTURE))
    assert list(content) == ["net", "acc", "epoch", "acc_record"]
    assert all(key.startswith("module.") for key in content["net"])
    assert content["acc_record"] == [content["acc"]]


def test_the_table_has_a_column_per_epoch_and_the_best_at_the_end(call):
    out = call(GESTURE, "--num_epochs", "2")
    with next(out.glob("*.csv")).open() as stream:
        header, *rows = csv.reader(stream)
    best = saved(out)
    assert header == ["Epochs", "1", "2", str(best["epoch"])]
    assert [row[0] for row in rows] == ["Train_Loss", "Test_Loss", "Train_Accuracy", "Test_Accuracy"]
    assert [row[-1] for row in rows] == ["", "", "", str(best["acc"])]


@pytest.mark.parametrize("attention", mostly_slow(ATTENTIONS, "no", "TCSA"))
def test_every_attention_trains(call, attention):
    net = saved(call(GESTURE, "--attention", attention))["net"]
    gates = {key.split(".attention.")[1][:2].upper() for key in net if ".attention." in key}
    assert gates == {f"{letter}A" for letter in attention.removesuffix("A") if attention != "no"}


def test_without_attention_the_run_says_so(call, capsys):
    call(GESTURE)
    assert "trains the network WITHOUT attention; choose --attention TA, CA, SA" in capsys.readouterr().out


def test_what_is_printed_is_in_the_log_too(call, capsys):
    log = call(GESTURE) / "log_DVS_Gesture_SNN.txt"
    assert log.read_text() == capsys.readouterr().out


def test_several_bin_widths_join_their_data_sets(call, capsys):
    call(CIFAR, "--dt", "50", "75")
    assert "36 training and 4 test recordings" in capsys.readouterr().out


def test_a_window_longer_than_the_recordings_ends_in_empty_bins(call):
    assert saved(call(GAIT, "--dt", "500", "--T", "8"))


def test_recordings_in_aedat_need_no_conversion(call, tmp_path, capsys):
    for label in ("cat", "dog"):
        for number in range(10):
            path = tmp_path / "aedat" / label / f"cifar10_{label}_{number}.aedat"
            write_aedat2(path, walk(300_000, seed=number), orientation="cifar10dvs")
    call(CIFAR, data=tmp_path / "aedat")
    assert "18 training and 2 test recordings" in capsys.readouterr().out


def final_weights(folder):
    (path,) = folder.glob("*/checkpoint.pt")
    return torch.load(path, weights_only=True)["model"]


@pytest.mark.slow
def test_a_resumed_run_ends_bit_equal(call):
    whole = call(GESTURE, "--num_epochs", "2", output="whole")
    call(GESTURE, "--num_epochs", "1", output="parts")
    parts = call(GESTURE, "--num_epochs", "2", "--resume", output="parts")
    expected, actual = final_weights(whole), final_weights(parts)
    assert all(torch.equal(expected[key], actual[key]) for key in expected)


def test_saved_weights_give_the_saved_accuracy(call, capsys):
    out = call(GESTURE)
    (path,) = out.glob("*.t7")
    capsys.readouterr()
    call(GESTURE, "--onlyTest", "--pretrained_path", path, output="tested")
    assert f"test accuracy {saved(out)['acc']:.2f} % of 4 recordings" in capsys.readouterr().out


@pytest.mark.slow
def test_a_script_runs_in_its_own_folder(recordings, tmp_path):
    paths = ("--data-path", recordings / "DVSGestures", "--output-dir", tmp_path)
    result = run_program("Att_SNN_CNN.py", *SMALL, *paths, cwd=ROOT / "ma_snn" / "DVSGestures")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / f"{SCRIPTS[GESTURE]}.t7").exists()


@pytest.mark.slow
def test_two_processes_from_the_root(recordings, tmp_path):
    paths = ("--data-path", recordings / "DVSGait", "--output-dir", tmp_path)
    pair = run_pair("ma_snn/DVSGait/Att_SNN_CNN.py", *SMALL, *paths, cwd=ROOT)
    for result in pair:
        assert result.returncode == 0, result.stderr
    assert "18 training and 2 test recordings" in pair[0].stdout
    assert (tmp_path / f"{SCRIPTS[GAIT]}.t7").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--attention", "TCSB"), "attention 'TCSB' is unknown; choose one of no, TA"),
        (("--attention", "TA", "--T", "4"), "T = 4 with t_ratio = 5"),
        (("--T", "0"), "expected T >= 1"),
        (("--dt", "0"), "dt >= 1"),
        (("--ds", "3"), "ds = 3: expected a divisor of 128"),
        (("--ds", "0"), "ds = 0: expected a divisor of 128"),
        (("--im_width", "64"), "im_width = 64: with ds = 4 it is 32; change ds"),
        (("--lens", "0.5"), "a = 0.5 and lens = 0.5: lens has to be a / 2"),
        (("--mode_select", "soft"), "mode_select = soft: the networks know spike or mem only"),
        (("--mem_act", "tanh"), "mem_act = tanh"),
        (("--init_method", "zeros"), "init_method 'zeros' is unknown"),
        (("--no-track_running_stats",), "track_running_stats = False"),
        (("--target_size", "5"), "target_size = 5"),
        (("--clip", "0"), "test clips must be at least 1"),
        (("--onlyTest",), "add --pretrained_path FILE"),
    ],
)
def test_settings_that_cannot_run_are_refused_before_training(refusal, arguments, message):
    assert message in refusal(GESTURE, *arguments)


def test_missing_gestures_name_the_folder_and_the_command(refusal, tmp_path):
    line = refusal(GESTURE, data=tmp_path / "nowhere")
    assert f"ma_snn/DVSGestures/data/DVS_Gesture.py --data-path {tmp_path / 'nowhere'}" in line


def test_a_mat_file_without_out_is_named(refusal, tmp_path):
    for number in (0, 9):
        (tmp_path / "mat" / "cat").mkdir(parents=True, exist_ok=True)
        savemat(tmp_path / "mat" / "cat" / f"{number}.mat", {"events": np.zeros((3, 6))})
    line = refusal(CIFAR, data=tmp_path / "mat")
    assert "0.mat: expected a variable 'out', found events" in line


def test_a_damaged_aedat_file_is_named(refusal, tmp_path):
    for number in (0, 9):
        path = tmp_path / "aedat" / "cat" / f"cifar10_cat_{number}.aedat"
        write_aedat2(path, walk(300_000), orientation="cifar10dvs")
        path.write_bytes(path.read_bytes()[:-3])
    assert "cifar10_cat_0.aedat: cut short at byte" in refusal(CIFAR, data=tmp_path / "aedat")


def test_weights_of_another_T_are_refused(call, refusal):
    (weights,) = call(GESTURE, "--attention", "TA").glob("*.t7")
    line = refusal(GESTURE, "--attention", "TA", "--pretrained_path", weights, "--T", "7", output="other")
    assert "convAttLIF0.attention.ta.sharedMLP.0.weight" in line


def test_a_checkpoint_of_another_T_is_refused(call, refusal):
    (checkpoint,) = call(GESTURE).glob("*/checkpoint.pt")
    assert "T is 6 there, 7 here" in refusal(GESTURE, "--resume", checkpoint, "--T", "7", output="other")


@pytest.mark.slow
@pytest.mark.parametrize("script, name", SCRIPTS.items())
def test_the_tiny_run_learns(script, name, tmp_path):
    command = [sys.executable, str(ROOT / "ma_snn" / f"{script}.py"), "--tiny", "--output-dir", str(tmp_path)]
    subprocess.run(command, check=True, timeout=1200)
    content = torch.load(tmp_path / f"{name}.t7", weights_only=True)
    assert content["acc"] > 30  # ten digits, 60 test recordings: guessing gives 10 and hardly ever 22
