"""The scripts of detection and segmentation as a user calls them, on a few scenes and the narrowest networks."""

import json
import re
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

from common.tiny.scenes import write_tiny_scenes
from common.training import load_checkpoint, read_weights, run
from common.training.record import OF_THE_CLOCK
from common.weights import card_facts
from sdt_v3 import dense_flags, train_detection, train_segmentation
from sdt_v3.dense_recipe import Snapshots
from sdt_v3.losses import detection_loss
from tests.marks import mostly_slow
from tests.programs import run_pair

ROOT = Path(__file__).parents[2]
MAIN = {
    "detection": train_detection.main,
    "segmentation": train_segmentation.main,
    "test detection": partial(train_detection.main, testing=True),
    "test segmentation": partial(train_segmentation.main, testing=True),
}
SMALL = ("--tiny", "--device", "cpu", "--embed_dim", "8", "8", "16", "16", "--depth", "2", "--fpn_channels", "8",
         "--img_scale", "64", "64", "--batch_size", "2", "--pictures", "2", "--warmup_iters", "2")  # fmt: skip
OWN = {
    "detection": ("--fc_channels", "8", "--epochs", "1", "--milestones", "1", "--roi_samples", "8"),
    "segmentation": ("--head_channels", "8", "--max_iters", "4", "--val_interval", "2", "--crop_size", "64",
                     "--checkpoint_interval", "3"),
}  # fmt: skip
FILES = {"detection": "sdt_v3/Detection/train.py", "segmentation": "sdt_v3/Segmentation/train.py"}
TASKS = tuple(OWN)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folder with a few scenes in both forms."""
    folder = tmp_path_factory.mktemp("scenes")
    write_tiny_scenes("coco", folder / "detection", train=6, test=3, side=64)
    write_tiny_scenes("ade20k", folder / "segmentation", train=6, test=3, side=64)
    return folder


@pytest.fixture
def call(monkeypatch, tmp_path, data):
    """Calls a script in this process; returns its output folder."""

    def call_script(script, *arguments, output="out"):
        task, folder = script.split()[-1], tmp_path / output
        words = ("--data_path", data / task, "--output_dir", folder, *SMALL, *OWN[task], *arguments)
        monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
        run(MAIN[script])
        return folder

    return call_script


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[key], expected[key]) for key in expected)


def test_a_detector_trains_and_is_tested_with_pictures_energy_and_rates(call, capsys):
    folder = call("detection")
    assert {"epoch_1.pth", "best.pt", "checkpoint.pt", "log.csv", "curves.png"} <= {
        path.name for path in folder.iterdir()
    }
    assert card_facts(folder / "best.pt")["reading"]["fit"] == [64, 64]
    (row,) = rows(folder)
    assert {"train_loss", "test_bbox_mAP", "test_bbox_mAP_50", "test_segm_mAP_75"} <= row.keys()
    assert "iteration" not in row and row["test_samples"] == 3
    said = capsys.readouterr().out
    assert "not the paper's experiment" in said and "bbox_mAP_50: last" in said
    tested = call("test detection", "--weights", folder / "epoch_1.pth", "--energy", output="tested")
    said = capsys.readouterr().out
    assert f"bbox_mAP    {row['test_bbox_mAP']:7.2f} %" in said and "3 images" in said
    pictures = sorted((tested / "pictures").iterdir())
    assert [path.name for path in pictures] == ["000000000001.png", "000000000002.png"]
    assert Image.open(pictures[0]).size == Image.open(next(iter((folder / "pictures").iterdir()))).size
    assert "mean normalised firing rate" in said and "mJ" in said
    names = {path.name for path in tested.iterdir()}
    assert {f"sdt_v3_det_mask_rcnn_19m{end}" for end in (".csv", ".png", "_int_firing_rate.csv")} <= names


def test_a_segmentor_trains_by_iterations_and_is_tested_with_maps(call, capsys):
    folder = call("segmentation")
    assert [row["iteration"] for row in rows(folder)] == [2, 4]
    assert {path.name for path in folder.glob("iter_*.pth")} == {"iter_3.pth"}
    assert {"test_mIoU", "test_mAcc", "test_aAcc"} <= rows(folder)[0].keys()
    assert "mIoU: last" in capsys.readouterr().out
    tested = call("test segmentation", "--weights", folder / "checkpoint.pt", "--energy", output="tested")
    said = capsys.readouterr().out
    assert f"mIoU  {rows(folder)[-1]['test_mIoU']:7.2f} %" in said and "mean normalised firing rate" in said
    maps = sorted((tested / "pictures").glob("*_labels.png"))
    assert len(maps) == 2 and set(Image.open(maps[0]).get_flattened_data()) <= set(range(1, 6))


@pytest.mark.parametrize("task", mostly_slow(TASKS, "segmentation"))
def test_a_run_that_was_stopped_resumes_exactly(call, monkeypatch, task):
    more = ("--epochs", "2", "--augment") if task == "detection" else ("--max_iters", "6")
    whole = call(task, *more, output="whole")

    def stop(self, every):
        return lambda step: signal.raise_signal(signal.SIGTERM) if step == 2 else None

    batches = iter(range(100))

    def stop_within_an_epoch(losses, images):
        if next(batches) == 1:
            signal.raise_signal(signal.SIGTERM)
        return detection_loss(losses)

    with monkeypatch.context() as patch:
        patch.setattr(train_detection, "total_loss", stop_within_an_epoch)
        patch.setattr(Snapshots, "after_step", stop)
        with pytest.raises(SystemExit):
            call(task, *more, output="parts")
    parts = call(task, *more, "--resume", output="parts")
    both = [load_checkpoint(folder / "checkpoint.pt") for folder in (parts, whole)]
    assert_equal(*(content["model"] for content in both))
    histories = [[{k: v for k, v in row.items() if k not in OF_THE_CLOCK} for row in one["history"]] for one in both]
    assert histories[0] == histories[1]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_two_processes_train_evaluate_each_picture_once_and_resume(data, tmp_path, task):
    words = ["--data_path", data / task, *SMALL, *OWN[task], "--output_dir", tmp_path]
    for more in ([], ["--epochs", "2", "--resume"] if task == "detection" else ["--resume"]):
        for result in run_pair(ROOT / FILES[task], *words, *more, cwd=tmp_path):
            assert result.returncode == 0, result.stderr
    assert len(rows(tmp_path)) == 2 and {row["test_samples"] for row in rows(tmp_path)} == {3}


@pytest.mark.parametrize("task", TASKS)
def test_training_starts_from_the_weights_of_a_classifier(call, tmp_path, capsys, task):
    classifier = timm.create_model("sdt_v3_10m", embed_dim=(8, 8, 16, 16), depth=2)
    torch.save({"model": classifier.state_dict()}, tmp_path / "classifier.pth")
    # A rate of almost 0 keeps what was loaded.
    folder = call(task, "--weights", tmp_path / "classifier.pth", "--lr", "1e-30")
    total = len(classifier.state_dict())
    assert f"{total - 2} of {total} entries loaded; new are " in capsys.readouterr().out
    key = "block3.0.mlp.fc1_conv.weight"
    assert torch.equal(read_weights(folder / "best.pt")[f"backbone.{key}"], classifier.state_dict()[key])


@pytest.mark.parametrize(
    ("task", "flags"),
    [("detection", ("--amp", "--augment", "--true_strides")), ("segmentation", ("--amp", "--augment"))],
    ids=TASKS,
)
def test_the_recipe_s_switches_run(call, task, flags):
    assert rows(call(task, *flags))


@pytest.mark.parametrize(
    ("script", "flags", "reason"),
    [
        ("test detection", (), "add --weights FILE"),
        ("segmentation", ("--max_iters", "5"), "--val_interval 2 does not divide --max_iters 5"),
        ("detection", ("--lr", "0"), "give a positive rate"),
        ("segmentation", ("--num_classes", "2"), "but there are 2 classes"),
        ("detection", ("--weights", "nowhere/x.pth"), "there is no file"),
        ("detection", ("--embed_dim", "9", "9", "9", "9"), "cannot be built with these --embed_dim"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_settings_that_cannot_run_are_refused(refusal, script, flags, reason):
    assert reason in refusal(script, *flags)


def test_weights_of_another_network_are_refused(call, refusal):
    weights = call("segmentation") / "best.pt"
    assert "do not fit MaskRCNN" in refusal("test detection", "--weights", weights, output="other")


def test_settings_files_hold_the_release_s_recipes():
    files = sorted((ROOT / "sdt_v3").glob("*/*.yml"))
    assert len(files) == 4
    for file in files:
        parse = dense_flags.parse_detection if file.parent.name == "Detection" else dense_flags.parse_segmentation
        args = parse(["-c", str(file)])
        assert args.model.endswith("10m" if re.search(r"-s_|10M", file.name) else "19m")
        if file.parent.name == "Detection":
            found = (args.epochs, [*args.milestones], args.batch_size, args.lr, args.weight_decay, args.warmup_iters)
            assert found == (12, [8, 11], 4, 2e-4, 0.05, 1000)
        else:
            assert (args.max_iters, args.batch_size, args.lr, args.head_lr_mult) == (160_000, 16, 1e-3, 2)
            assert (args.weight_decay, args.warmup_iters, args.crop_size) == (0.005, 1500, 512)
            assert args.val_interval == (2500 if args.model.endswith("10m") else 8000)
        assert not args.ignored


@pytest.mark.slow
@pytest.mark.parametrize(("task", "measure", "least"), [("detection", "bbox_mAP_50", 50), ("segmentation", "mIoU", 60)])
def test_the_tiny_runs_learn(monkeypatch, tmp_path, task, measure, least):
    monkeypatch.setattr(sys, "argv", [task, "--tiny", "--device", "cpu", "--output_dir", str(tmp_path)])
    run(MAIN[task])
    assert max(row[f"test_{measure}"] for row in rows(tmp_path)) > least
