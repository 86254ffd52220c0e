"""The scripts of SDT V3 as a user calls them, on a few images and clips and the narrowest networks."""

import csv
import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from common.errors import UserError
from common.events.event import pack
from common.events.text import write_text
from common.tiny.events import write_tiny
from common.tiny.images import write_tiny_images
from common.training import Process, load_checkpoint, run
from common.training.checkpoint import read_file
from sdt_v3 import firing, pretrain, train_events, train_images
from sdt_v3.Classification.Model_Base import main_finetune as base_script
from sdt_v3.Classification.Model_Large import main_finetune as large_script
from sdt_v3.data.tiny_hardvs import write_tiny_hardvs
from sdt_v3.distill import build_teacher
from sdt_v3.flags import parse_images
from sdt_v3.recipe import peak_rate
from sdt_v3.results import Results, is_best
from tests.marks import mostly_slow
from tests.programs import run_pair

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "base": (partial(train_images.main, base_script.RECIPE), "images"),
    "large": (partial(train_images.main, large_script.RECIPE), "images"),
    "pretrain": (pretrain.main, "images"),
    "hardvs": (train_events.main, "clips"),
    "firing": (firing.main, "clips"),
}
SMALL = ("--tiny", "--device", "cpu", "--epochs", "1", "--batch_size", "4", "--input_size", "32", "--depth", "2")
WIDTHS = {
    "base": (8, 8, 8, 8),
    "large": (8, 8, 8),
    "pretrain": (8, 8, 8),
    "hardvs": (8, 8, 8, 8),
    "firing": (8, 8, 8, 8),
}
FILES = {
    "base": "sdt_v3/Classification/Model_Base/main_finetune.py",
    "large": "sdt_v3/Classification/Model_Large/main_finetune.py",
    "pretrain": "sdt_v3/Classification/Model_Large/main_pretrain.py",
    "hardvs": "sdt_v3/DVS/Hardvs/main_finetune.py",
    "firing": "sdt_v3/DVS/Hardvs/firing_num_dvs.py",
}


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folder with a few images and clips in the published forms."""
    folder = tmp_path_factory.mktemp("data")
    write_tiny_images("imagenet", folder / "images", per_class=1, test_per_class=1)
    write_tiny_hardvs(folder / "clips", classes=2, per_class=4, test_per_class=2)
    return folder


@pytest.fixture
def call(monkeypatch, tmp_path, data):
    """Calls a script in this process; returns its output folder."""

    def call_script(script, *arguments, output="out", source=None):
        main, kind = SCRIPTS[script]
        folder = tmp_path / output
        paths = ("--data_path", source or data / kind, "--output_dir", folder)
        widths = ("--embed_dim", *WIDTHS[script])
        monkeypatch.setattr(sys, "argv", [script, *map(str, (*paths, *SMALL, *widths, *arguments))])
        run(main)
        return folder

    return call_script


def log(folder):
    return [json.loads(line) for line in (folder / "log.txt").read_text().splitlines()]


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[key], expected[key]) for key in expected)


@pytest.mark.parametrize("script", ["base", "large", "pretrain", "hardvs"])
def test_a_run_leaves_the_files_of_the_release(call, script, capsys):
    folder = call(script)
    names = {"log.txt", "best.pth", "last.pth"} if script == "hardvs" else {"log.txt", "checkpoint-0.pth"}
    assert names | {"checkpoint.pt", "log.csv"} <= {path.name for path in folder.iterdir()}
    assert "not the paper's experiment" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "average"), [("base", set()), ("large", {"ema_test_acc1"}), ("hardvs", {"ema_test_acc1"})]
)
def test_a_line_of_the_log_has_the_release_s_keys(call, script, average):
    (row,) = log(call(script))
    assert row["epoch"] == 0
    assert {"train_lr", "train_loss", "test_loss", "test_acc1", "n_parameters"} | average <= row.keys()


@pytest.mark.parametrize(
    ("script", "file", "average"),
    [
        ("base", "checkpoint-0.pth", set()),
        ("large", "checkpoint-0.pth", {"model_ema"}),
        ("hardvs", "last.pth", {"model_ema"}),
    ],
)
def test_a_checkpoint_holds_what_the_release_s_does(call, script, file, average):
    assert read_file(call(script) / file).keys() == {"model", "optimizer", "epoch", "scaler", "args"} | average


@pytest.mark.parametrize("script", mostly_slow(["base", "large", "pretrain", "hardvs"], "base", "pretrain"))
def test_a_run_stopped_after_an_epoch_resumes_exactly(call, monkeypatch, script):
    whole = call(script, "--epochs", "2", output="whole")
    with monkeypatch.context() as patch:
        patch.setattr(Results, "log", lambda self, model, history: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(SystemExit):
            call(script, "--epochs", "2", output="parts")
    parts = call(script, "--epochs", "2", "--resume", output="parts")
    assert_equal(load_checkpoint(parts / "checkpoint.pt")["model"], load_checkpoint(whole / "checkpoint.pt")["model"])


def test_pretraining_fine_tuning_distillation_and_evaluation_form_a_chain(call, capsys):
    pretrained = call("pretrain", output="pretrained") / "checkpoint-0.pth"
    tuned = call("large", "--finetune", pretrained, output="tuned") / "checkpoint-0.pth"
    distilled = call("large", "--kd", "--finetune", tuned, output="distilled")
    said = capsys.readouterr().out
    assert "new are block3.0.layer_scale1" in said
    assert "new are head_kd.weight, head_kd.bias" in said
    assert "the teacher is a stand-in" in said
    (row,) = log(distilled)
    call("large", "--eval", "--weights", distilled / "best.pt", output="evaluated")
    assert f"test accuracy {row['test_acc1']:.2f} % of 10 images" in capsys.readouterr().out


def test_fine_tuning_starts_from_the_pretrained_encoder(call):
    pretrained = call("pretrain", output="pretrained") / "checkpoint-0.pth"
    # A rate of almost 0 keeps what was loaded.
    tuned = call("large", "--finetune", pretrained, "--lr", "1e-30", output="tuned") / "checkpoint-0.pth"
    key = "block3.1.mlp.fc1_conv.weight"
    assert torch.equal(read_file(tuned)["model"][key], read_file(pretrained)["model"][key])


def test_a_distilled_network_can_be_trained_on_without_distillation(call):
    distilled = call("large", "--kd", output="distilled") / "best.pt"
    assert "head_kd.weight" not in read_file(call("large", "--finetune", distilled, output="tuned") / "best.pt")


def test_a_teacher_from_a_file_is_used(call, tmp_path, capsys):
    teacher = timm.create_model("test_resnet", num_classes=10)
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    call("base", "--kd", "--teacher_model", "test_resnet", "--teacher_weights", tmp_path / "teacher.pt")
    assert "stand-in" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags",
    [
        ("--mixup", "0.8", "--cutmix", "1.0"),
        ("--augment", "--reprob", "0.5"),
        ("--repeated_aug",),
        ("--accum_iter", "2"),
        ("--clip_grad", "1"),
        ("--time_steps", "2"),
        ("--max_value", "8"),
        ("--layer_decay", "0.75"),
        ("--kd", "--distillation_type", "soft", "--mixup", "0.5"),
        ("--MODEL_EMA", "0"),
    ],
    ids=" ".join,
)
def test_the_recipe_s_switches_run(call, flags):
    assert (call("large", *flags) / "checkpoint-0.pth").exists()


@pytest.mark.parametrize("script", ["base", "hardvs"])
def test_layers_have_one_rate_but_in_the_large_family(call, script, capsys):
    groups = load_checkpoint(call(script, "--layer_decay", "0.5") / "checkpoint.pt")["optimizer"]["param_groups"]
    assert {group["lr_scale"] for group in groups} == {1.0}
    assert "without effect here: layer_decay" in capsys.readouterr().out


def test_the_best_checkpoint_is_that_of_weights_or_average():
    def history(*pairs):
        return [{"test_acc1": raw, "test_ema_acc1": average} for raw, average in pairs]

    keys = ("test_acc1", "test_ema_acc1")
    assert is_best(history((50.0, 10.0), (40.0, 60.0)), *keys)
    assert not is_best(history((50.0, 60.0), (55.0, 20.0)), *keys)


def test_flags_without_effect_are_accepted_with_and_without_a_value(call):
    assert log(call("base", "--model_mode", "ms", "--dist_eval", "--drop_path", "0.1"))


@pytest.mark.parametrize("model", ["spikformer_12_512", "spikformer12_512", "sdt_v3_83m"])
def test_every_spelling_of_a_model_is_accepted(call, model):
    assert log(call("large", "--model", model))


@pytest.mark.parametrize(
    ("dataset", "flags"),
    [("har-dvs", ("--published", "--mirror", "--mixup", "0.8", "--cutmix", "1")), ("gesture", ("--downsample", "4"))],
)
def test_event_data_sets_train(call, tmp_path, dataset, flags):
    source = write_tiny("dvs128", tmp_path / "gestures", classes=2, per_class=4) if dataset == "gesture" else None
    assert log(call("hardvs", "--dataset", dataset, *flags, source=source))


def test_gait_recordings_train(call, tmp_path):
    generator = np.random.default_rng(0)
    for number in range(6):
        events = pack(np.arange(0, 300_000, 1000), *generator.integers(0, 128, (2, 300)), generator.integers(0, 2, 300))
        part = "train" if number < 4 else "test"
        (tmp_path / "gait" / part / str(number % 2)).mkdir(parents=True, exist_ok=True)
        write_text(tmp_path / "gait" / part / str(number % 2) / f"{number}.txt", events)
    flags = ("--dataset", "gait-night", "--downsample", "4")
    assert log(call("hardvs", *flags, source=tmp_path / "gait"))


def test_firing_rates_of_every_neuron_are_tabulated(call, capsys):
    trained = call("hardvs", output="trained") / "best.pth"
    folder = call("firing", "--weights", trained)
    with next(folder.glob("*_int_firing_rate.csv")).open() as stream:
        rows = list(csv.DictReader(stream))
    assert "4 recordings" in capsys.readouterr().out
    for row in rows:
        shares = [float(row[f"share_{n}"]) for n in range(5)]
        assert np.isclose(sum(shares), 1)
        assert np.isclose(float(row["mean_integer"]), np.dot(shares, range(5)))


def test_saved_weights_give_the_logged_accuracy(call, capsys):
    folder = call("hardvs")
    (row,) = log(folder)
    call("hardvs", "--eval", "--resume", folder / "last.pth", output="other")
    assert f"test accuracy {row['test_acc1']:.2f} % of 4 recordings" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_distil_and_resume(call, data, tmp_path):
    words = [*SMALL, "--data_path", data / "images", "--batch_size", "2", "--kd"]
    words += ["--embed_dim", *WIDTHS["large"], "--finetune", call("pretrain") / "checkpoint-0.pth"]
    for more in ([], ["--epochs", "2", "--resume"]):
        for result in run_pair(ROOT / FILES["large"], *words, *more, cwd=tmp_path):
            assert result.returncode == 0, result.stderr
    assert [row["epoch"] for row in log(tmp_path / "output_dir")] == [0, 1]


def test_missing_images_name_the_folder(refusal, tmp_path):
    assert str(tmp_path / "nowhere") in refusal("base", source=tmp_path / "nowhere")


def test_missing_clip_lists_name_the_file_and_the_flags(refusal, tmp_path):
    line = refusal("hardvs", source=tmp_path / "nowhere")
    assert str(tmp_path / "nowhere" / "train_label.txt") in line
    assert "--train_list" in line


def test_more_classes_than_the_network_has_are_refused(refusal):
    assert "10 classes; give --nb_classes 10" in refusal("base", "--nb_classes", "4")


def test_weights_of_another_family_are_refused(call, refusal):
    weights = call("base") / "best.pt"
    assert "another family" in refusal("large", "--finetune", weights, output="other")


def test_weights_that_do_not_fit_are_refused(call, refusal):
    weights = call("base") / "best.pt"
    assert "do not fit" in refusal("base", "--finetune", weights, "--depth", "4", output="other")


@pytest.mark.parametrize("flag", ["--resume", "--finetune"])
def test_a_corrupt_file_is_refused(refusal, tmp_path, flag):
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 broken")
    assert "broken.pth is cut short or damaged" in refusal("large", flag, tmp_path / "broken.pth")


def test_a_checkpoint_of_other_time_steps_is_refused(call, refusal):
    checkpoint = call("large") / "checkpoint.pt"
    assert "T is 1 there, 2 here" in refusal("large", "--resume", checkpoint, "--time_steps", "2", output="other")


def test_distillation_without_a_teacher_is_refused():
    args = parse_images(large_script.RECIPE, ["--kd"])
    with pytest.raises(UserError, match="add --teacher_weights FILE"):
        build_teacher(args, None, None, None)


@pytest.mark.parametrize(
    ("script", "flags", "reason"),
    [
        ("base", ("--eval",), "add --weights FILE"),
        ("firing", (), "add --weights FILE"),
        ("base", ("--mixup", "1", "--batch_size", "3"), "give an even number"),
        ("large", ("--lr", "0"), "give a positive --lr"),
        ("base", ("--batch_size", "64"), "smaller than one batch; lower --batch-size"),
        ("large", ("--batch_size", "0"), "--batch_size 0: must be at least 1"),
        ("large", ("--embed_dim", "8", "8"), "cannot be built"),
        ("pretrain", ("--input_size", "40"), "divisible by 16"),
        ("pretrain", ("--mask_ratio", "1.5"), "between 0 and 1"),
        ("base", ("--kd", "--teacher_model", "nobody", "--teacher_weights", "x.pt"), "timm has no such model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_settings_that_cannot_run_are_refused(refusal, script, flags, reason):
    assert reason in refusal(script, *flags)


@pytest.mark.parametrize(
    ("arguments", "rate"),
    [(["--batch_size", "128", "--accum_iter", "4"], 6e-4 * 2), (["--lr", "0.1"], 0.1)],
)
def test_the_rate_grows_with_the_images_per_step(arguments, rate):
    args = parse_images(large_script.RECIPE, arguments)
    assert peak_rate(args, Process(0, 1, 0, torch.device("cpu"))) == pytest.approx(rate)


def test_the_defaults_are_the_published_ones():
    args = parse_images(large_script.RECIPE, [])
    assert (args.epochs, args.input_size, args.weight_decay, args.drop_path) == (200, 224, 0.05, 0.1)
    assert (args.aa, args.reprob, args.smoothing, args.mixup) == ("rand-m9-mstd0.5-inc1", 0.25, 0.1, 0)


@pytest.mark.slow
def test_the_tiny_chain_learns(tmp_path):
    def launch(script, *arguments):
        command = [sys.executable, str(ROOT / FILES[script]), "--tiny", "--device", "cpu", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    launch("pretrain", "--output_dir", "pretrained")
    launch("large", "--output_dir", "tuned", "--finetune", pretrained_file(tmp_path))
    launch("large", "--output_dir", "distilled", "--finetune", "tuned/best.pt", "--kd")
    assert max(row["test_acc1"] for row in log(tmp_path / "tuned")) > 50
    assert max(row["test_acc1"] for row in log(tmp_path / "distilled")) > 50


def pretrained_file(folder):
    """The checkpoint of the last epoch."""
    return str(max((folder / "pretrained").glob("checkpoint-*.pth"), key=lambda path: path.stat().st_mtime))


@pytest.mark.slow
@pytest.mark.parametrize("script", ["base", "hardvs"])
def test_a_tiny_run_learns(tmp_path, script):
    command = [sys.executable, str(ROOT / FILES[script]), "--tiny", "--device", "cpu", "--output_dir", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert max(row["test_acc1"] for row in log(tmp_path / "out")) > 40
