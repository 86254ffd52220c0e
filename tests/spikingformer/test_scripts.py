"""The scripts for images and events as a user calls them, on a few samples and a narrow network."""

import argparse
import csv
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.tiny.events import write_tiny
from common.tiny.images import write_tiny_images
from common.training import average_of, start
from spikingformer.data import events, images
from spikingformer.flags import CIFAR10_DVS, parse_events
from spikingformer.recipe import continue_from
from tests.programs import run_pair

ROOT = Path(__file__).parents[2] / "spikingformer"
IMAGES, EVENTS = ("imagenet", "cifar10", "cifar100"), {"cifar10-dvs": "cifar10dvs", "dvs128-gesture": "dvs128"}
SMALL = ("--tiny", "--dim", "16", "--num-heads", "2", "--epochs", "1", "--batch-size", "4", "--device", "cpu")
SIZES = {"imagenet": "32", "cifar10": "16", "cifar100": "16"}


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folder with a few samples for each script."""
    folder = tmp_path_factory.mktemp("data")
    write_tiny_images("imagenet", folder / "imagenet", per_class=2, test_per_class=1)
    for name in ("cifar10", "cifar100"):
        shutil.copytree(folder / "imagenet" / "train", folder / name / "train")
        shutil.copytree(folder / "imagenet" / "val", folder / name / "test")
        for path in (folder / name).rglob("*.JPEG"):
            Image.open(path).resize((32, 32)).save(path)
    for name in EVENTS.values():
        write_tiny(name, folder / name, classes=2, per_class=10)
    return folder


@pytest.fixture
def call(monkeypatch, tmp_path, data):
    """Runs a script in this process; returns the folder of its newest run."""

    def call_script(name, *arguments, script="train.py", output="out", source=None):
        paths = ("--output-dir", tmp_path / output, "--data-path", source or data / EVENTS.get(name, name))
        size = ("--img-size", SIZES[name]) if name in SIZES else ()
        monkeypatch.setattr(sys, "argv", [script, *map(str, (*paths, *SMALL, *size, *arguments))])
        runpy.run_path(str(ROOT / name / script), run_name="__main__")
        runs = sorted((tmp_path / output).rglob("checkpoint.pt"), key=lambda path: path.stat().st_mtime)
        return runs[-1].parent if runs else None

    return call_script


def summary(folder):
    with (folder / "summary.csv").open() as stream:
        return list(csv.DictReader(stream))


def load(path):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("name", IMAGES)
def test_images_become_the_authors_files(call, name, capsys):
    folder = call(name)
    assert list(summary(folder)[0]) == ["epoch", "train_loss", "eval_loss", "eval_top1", "eval_top5"]
    assert {"args.yaml", "last.pth.tar", "model_best.pth.tar", "checkpoint-0.pth.tar", "curves.png"} <= {
        path.name for path in folder.iterdir()
    }
    assert "not the paper's experiment" in capsys.readouterr().out


@pytest.mark.parametrize("name", EVENTS)
def test_recordings_become_the_authors_files(call, name):
    folder = call(name, "--num-classes", "10")  # more than the data have: the five best are counted from five on
    assert folder.parts[-2:] == ("SEWResNet_b4_T4_wd0.06_adamw_cnf_ADD", "lr0.004")
    assert {"checkpoint_max_test_acc1.pth", "checkpoint_0.pth", "summary.csv", "curves.png"} <= {
        path.name for path in folder.iterdir()
    }
    logs = folder.with_name("lr0.004_logs")
    assert (logs / "args.txt").exists()
    for part, prefix in (("train", "train"), ("te", "test")):
        board = EventAccumulator(str(logs / part)).Reload()
        assert board.Tags()["scalars"] == [f"{prefix}_loss", f"{prefix}_acc1", f"{prefix}_acc5"]
        assert [value.step for value in board.Scalars(f"{prefix}_loss")] == [0]


def test_the_authors_name_of_the_data_and_of_an_optimizer_s_folder(call):
    folder = call("dvs128-gesture", "--dataset", "DVS128Gesture", "--opt", "lamb")
    assert "_sgd_cnf_" in str(folder)


def test_average_and_scaler_of_an_authors_checkpoint_are_taken_over(tmp_path):
    models = [torch.nn.Linear(2, 2) for _ in range(3)]
    scale = torch.amp.GradScaler("cpu", init_scale=8.0)
    state = {"module." + key: value for key, value in models[1].state_dict().items()}
    content = {"state_dict": models[0].state_dict(), "state_dict_ema": state, "amp_scaler": scale.state_dict()}
    torch.save(content, tmp_path / "authors.pth.tar")
    average, scaler = average_of(models[2], 0.5), torch.amp.GradScaler("cpu")
    continue_from(tmp_path / "authors.pth.tar", models[2], scaler=scaler, average=average)
    assert models[2].weight.equal(models[0].weight)
    assert average.module.weight.equal(models[1].weight)
    assert scaler.get_scale() == 8
    del content["state_dict_ema"]
    torch.save(content, tmp_path / "authors.pth.tar")
    continue_from(tmp_path / "authors.pth.tar", models[2], average=average)
    assert average.module.weight.equal(models[0].weight)


def test_the_published_pickles_are_read(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "TINY_SET", {"per_class": 1, "test_per_class": 1})
    arguments = [*SMALL, "--img-size", "16", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments, "--experiment", "run"])
    runpy.run_path(str(ROOT / "cifar100" / "train.py"), run_name="__main__")
    assert (tmp_path / "data" / "cifar100_tiny" / "cifar-100-python" / "train").exists()
    assert len(summary(tmp_path / "run")) == 1


@pytest.mark.parametrize(
    "name, flags",
    [
        ("cifar10", ("--mixup", "0.5", "--cutmix", "1", "--reprob", "0.5", "--model-ema")),
        pytest.param(
            "cifar10-dvs",
            ("--mixup", "0.5", "--cutmix", "1", "--augment", "--T_train", "3"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_resumed_run_ends_bit_equal(call, name, flags):
    whole = call(name, "--epochs", "2", *flags, output="whole")
    call(name, "--epochs", "1", *flags, output="parts")
    parts = call(name, "--epochs", "2", "--resume", *flags, output="parts")
    expected, actual = load(whole / "checkpoint.pt"), load(parts / "checkpoint.pt")
    assert all(torch.equal(expected["model"][key], actual["model"][key]) for key in expected["model"])
    assert [row["train_loss"] for row in expected["history"]] == [row["train_loss"] for row in actual["history"]]


@pytest.mark.parametrize("name", IMAGES)
def test_saved_weights_give_the_accuracy_in_the_summary(call, name, capsys):
    folder = call(name)
    (row,) = summary(folder)
    capsys.readouterr()
    call(name, "--resume", folder / "model_best.pth.tar", script="test.py")
    assert f"'top1': {round(float(row['eval_top1']), 4)}" in capsys.readouterr().out


def test_the_settings_of_a_run_are_a_settings_file(call, capsys):
    folder = call("cifar10", "--dim", "24")
    capsys.readouterr()
    call("cifar10", "-c", folder / "args.yaml", "--resume", folder / "last.pth.tar", "--dim", "24", script="test.py")
    assert "of 10 images" in capsys.readouterr().out


def test_saved_event_weights_give_the_accuracy_in_the_summary(call, capsys):
    folder = call("dvs128-gesture")
    (row,) = summary(folder)
    capsys.readouterr()
    call("dvs128-gesture", "--test-only", "--resume", folder / "checkpoint_max_test_acc1.pth")
    assert f"test accuracy {float(row['eval_top1']):.2f} %" in capsys.readouterr().out


def authors_file(folder, path):
    """The checkpoint of a run as the authors' training writes it."""
    content = load(folder / "last.pth.tar")
    content["state_dict"] = {f"module.{key}": value for key, value in content["state_dict"].items()}
    torch.save(content | {"args": argparse.Namespace(model="vitsnn", lr=5e-4), "epoch": 6}, path)
    return path


def test_an_authors_checkpoint_is_tested(call, tmp_path, capsys):
    folder = call("imagenet")
    path = authors_file(folder, tmp_path / "authors.pth.tar")
    capsys.readouterr()
    call("imagenet", "--resume", path, script="test.py")
    assert f"'top1': {round(float(summary(folder)[0]['eval_top1']), 4)}" in capsys.readouterr().out


def test_training_goes_on_after_the_epoch_of_an_authors_checkpoint(call, tmp_path):
    path = authors_file(call("imagenet"), tmp_path / "authors.pth.tar")
    folder = call("imagenet", "--resume", path, "--epochs", "8", "--cooldown-epochs", "1", output="more")
    assert [row["epoch"] for row in summary(folder)] == ["7", "8"]


def test_the_best_checkpoints_are_kept(call):
    folder = call("cifar10", "--epochs", "4", "--checkpoint-hist", "2")
    ranked = sorted(summary(folder), key=lambda row: -float(row["eval_top1"]))
    names = {path.name for path in folder.glob("checkpoint-*.pth.tar")}
    assert names == {f"checkpoint-{row['epoch']}.pth.tar" for row in ranked[:2]}


@pytest.mark.parametrize(
    "flags", [("--downsampling", "cml"), ("--network", "cml_spikformer"), ("-T", "3"), ("--depths", "2")]
)
def test_variants_run(call, flags):
    assert summary(call("cifar10", *flags))


def test_settings_file_gives_defaults_and_the_command_line_wins(call, tmp_path):
    settings = yaml.safe_load((ROOT / "cifar10" / "cifar10.yml").read_text())
    (tmp_path / "own.yml").write_text(yaml.safe_dump(settings | {"min_lr": "5e-4", "momentum": 0.5, "colour": "red"}))
    folder = call("cifar10", "-c", tmp_path / "own.yml", "--momentum", "0.7")
    args = yaml.safe_load((folder / "args.yaml").read_text())
    assert {key: args[key] for key in ("min_lr", "momentum", "colour")} == {
        "min_lr": 5e-4,
        "momentum": 0.7,
        "colour": "red",
    }


def test_what_has_no_effect_is_named_in_one_line(call, tmp_path, capsys):
    (tmp_path / "own.yml").write_text("layer: 4\ncolour: red\n")
    call("cifar10", "-c", tmp_path / "own.yml", "--drop-path", "0.2", "--torchscript", "--num-classes", "10")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("warning:"))
    assert line.endswith("layer, drop_path, torchscript, colour")


def test_published_split_of_cifar10_dvs_is_the_first_nine_tenths_by_name(recipe_sets):
    train_set, test_set = recipe_sets("--split", "first")
    names = sorted(path.name for path, label in train_set.samples + test_set.samples if label == 0)
    assert [path.name for path, label in train_set.samples if label == 0] == names[:9]


def test_seeded_split_is_another_one(recipe_sets):
    assert recipe_sets("--split", "first")[1].samples != recipe_sets("--split", "seeded")[1].samples


@pytest.fixture
def recipe_sets(data, tmp_path):
    """Training and test part of the tiny CIFAR10-DVS as the script opens them."""

    def open_sets(*arguments):
        paths = ("--data-path", str(data / "cifar10dvs"), "--output-dir", str(tmp_path))
        args = parse_events(CIFAR10_DVS, [*SMALL, *paths, *arguments])
        return events.datasets(CIFAR10_DVS, args, start("cpu"))

    return open_sets


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagenet", pytest.param("cifar10", marks=pytest.mark.slow)])
def test_two_processes_from_another_folder(name, data, tmp_path):
    words = (*SMALL, "--img-size", SIZES[name], "--data-path", data / name)
    for result in run_pair(ROOT / name / "train.py", *words, cwd=tmp_path):
        assert result.returncode == 0, result.stderr
    assert list(tmp_path.glob("output/train/*/model_best.pth.tar"))


@pytest.mark.parametrize(
    "content, reason",
    [
        ("epochs: many", "'many' is no int"),
        ("- 1", "expected lines"),
        ("a: [", "cannot be read"),
        ("mean: [1]", "does not suit --mean"),
    ],
)
def test_a_settings_file_with_mistakes_is_named(refusal, tmp_path, content, reason):
    (tmp_path / "own.yml").write_text(content)
    line = refusal("cifar10", "-c", tmp_path / "own.yml")
    assert "own.yml" in line
    assert reason in line


@pytest.mark.parametrize(
    "flags, reason",
    [
        (("--num-heads", "3"), "num_heads must divide the width 16"),
        (("--opt", "magic"), "--opt magic"),
        (("--dataset", "mnist"), "--dataset mnist"),
        (("--num-classes", "5"), "give --num-classes 10"),
        (("-T", "0"), "T = 0"),
        (("--mixup", "0.5", "--batch-size", "3"), "give an even number"),
        (("--resume", "nowhere.pth.tar"), "there is no file nowhere.pth.tar"),
        (("--eval",), "add --resume FILE"),
    ],
)
def test_settings_that_cannot_run_are_refused(refusal, flags, reason):
    assert reason in refusal("cifar10", *flags)


@pytest.mark.parametrize("name", ["imagenet", "cifar10", "cifar10-dvs", "dvs128-gesture"])
def test_missing_data_name_the_folder(refusal, tmp_path, name):
    assert str(tmp_path / "nowhere") in refusal(name, source=tmp_path / "nowhere")


def test_weights_of_another_width_are_refused(call, refusal):
    folder = call("cifar10")
    line = refusal("cifar10", "--dim", "32", "--resume", folder / "last.pth.tar", script="test.py")
    assert "last.pth.tar do not fit" in line


def test_a_checkpoint_of_another_T_is_refused(call, refusal):
    folder = call("cifar10")
    assert "T is 2 there, 3 here" in refusal("cifar10", "--resume", folder / "checkpoint.pt", "-T", "3")


def test_energy_of_the_published_logs_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["energy_consumption_on_imagenet.py"])
    runpy.run_path(str(ROOT / "imagenet" / "energy_consumption_on_imagenet.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert "7.4635 mJ" in out
    assert "13.6589 mJ" in out


def test_energy_of_trained_weights_counts_the_first_convolution_at_every_step(call):
    folder = call("imagenet")
    call("imagenet", "--resume", folder / "last.pth.tar", script="energy_consumption_on_imagenet.py")
    (path,) = folder.parent.glob("*.csv")
    with path.open() as stream:
        stem = next(row for row in csv.DictReader(stream) if row["layer"] == "patch_embed.proj_conv")
    assert float(stem["mac"]) == 2 * 27 * 2 * 32 * 32


@pytest.mark.slow
@pytest.mark.parametrize("name", [*IMAGES, *EVENTS])
def test_the_tiny_preset_learns(monkeypatch, tmp_path, name):
    monkeypatch.setattr(sys, "argv", ["train.py", "--tiny", "--device", "cpu", "--output-dir", str(tmp_path)])
    runpy.run_path(str(ROOT / name / "train.py"), run_name="__main__")
    (path,) = tmp_path.rglob("summary.csv")
    assert max(float(row["eval_top1"]) for row in summary(path.parent)) >= 50
