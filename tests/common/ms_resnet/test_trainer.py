"""The ImageNet trainer: its presets, flags, rules and files. The scripts built on it are tested with their papers."""

import argparse
import csv
import signal
import sys
from datetime import datetime
from functools import partial

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import UserError
from common.ms_resnet import trainer
from common.ms_resnet.cutmix import draw_box
from common.ms_resnet.files import every_best, last_epochs
from common.ms_resnet.trainer import FLAGS, MS_RESNET, Preset, main, parse
from common.tiny.images import write_tiny_images
from common.training import Process, begin, run, run_folder

ALONE = Process(0, 1, 0, torch.device("cpu"))
SMALL = ("-net", "resnet18", "-b", "6", "-lr", "0.1", "--tiny", "--width", "4", "--device", "cpu", "--epochs", "1")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A tiny ImageNet of 20 training and 10 test images."""
    return write_tiny_images("imagenet", tmp_path_factory.mktemp("images"), per_class=2, test_per_class=1)


@pytest.fixture
def call(monkeypatch, tmp_path, images):
    """Calls the trainer in this process; returns the folder of the run."""

    def call_script(*arguments, preset=MS_RESNET, script=main, data=images, root="out"):
        words = ("--data-path", data, "--output-dir", tmp_path / root, *SMALL, *arguments)
        monkeypatch.setattr(sys, "argv", ["train_amp.py", *map(str, words)])
        run(partial(script, preset))
        return max((tmp_path / root).glob("checkpoint/*/*/*/*/*"), default=None)

    return call_script


def scalars(board):
    """{tag: {step: value}} of all TensorBoard files in a folder."""
    events = EventAccumulator(str(board)).Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def logged(folder, column):
    """The values of a column of log.csv."""
    with (folder / "log.csv").open() as stream:
        return [float(row[column]) for row in csv.DictReader(stream)]


def history_of(accuracies):
    return [{"epoch": number, "test_acc1": accuracy} for number, accuracy in enumerate(accuracies, start=1)]


def names(rule, accuracies, epochs, save_epoch):
    history = history_of(accuracies)
    return [rule(history[: number + 1], epochs, save_epoch) for number in range(len(history))]


def test_ms_resnet_keeps_regular_weights_now_and_then_and_the_best_of_the_last_five_epochs():
    accuracies = [90, 1, 2, 3, 4, 5, 6, 5, 7, 6]
    expected = [None, None, "3-regular", None, "5-regular", "6-best", "7-best", "8-regular", "9-best", "10-regular"]
    assert names(last_epochs, accuracies, 10, 3) == expected


def test_gac_keeps_each_new_best():
    assert names(every_best, [10, 10, 12, 11, 13], 5, 30) == ["best", None, "best", None, "best"]


def test_the_defaults_of_a_preset_are_those_of_ms_resnet():
    args = parse(MS_RESNET, ["-net", "resnet34"])
    settings = (args.batch_size, args.lr, args.T, args.epochs, args.seed, args.img_size, args.min_area, args.workers)
    assert settings == (256, 0.1, 6, 125, 445, 224, 0.08, 2)
    assert (MS_RESNET.weight_decay, MS_RESNET.save_epoch, MS_RESNET.tag) == (1e-5, 30, "ImageNet_ACC")


def test_flags_of_some_trainers_exist_where_the_preset_says_so():
    preset = Preset(nets={"resnet18": "ms_resnet18"}, flags=tuple(FLAGS), without_effect=("-warm",))
    args = parse(preset, ["-net", "resnet18", "-warm", "2", "--end_early", "True", "--beta", "0.5"])
    assert (args.warm, args.end_early, args.beta, args.cutmix_prob) == (["2"], True, 0.5, 1.0)


@pytest.mark.parametrize("spelling", ["--local_rank", "--local-rank"])
def test_both_spellings_of_the_launchers_flag_are_read(spelling):
    assert parse(MS_RESNET, ["-net", "resnet18", f"{spelling}=1"]).local_rank == 1


def test_a_flag_wins_over_tiny():
    assert parse(MS_RESNET, ["-net", "resnet18", "--tiny", "-T", "5"]).T == 5


def test_a_test_script_takes_weights_and_a_hundred_images_at_a_time():
    args = parse(MS_RESNET, ["-net", "resnet18", "-weights", "resnet18.pth"], testing=True)
    assert (args.batch_size, str(args.weights), args.eval) == (100, "resnet18.pth", True)


@pytest.mark.parametrize(
    "flags, reason",
    [
        (["-T", "0"], "at least one time step"),
        (["--img-size", "100"], "multiple of 32"),
        (["--test-only"], "add --weights"),
    ],
)
def test_a_combination_that_cannot_run_is_refused(flags, reason):
    with pytest.raises(UserError, match=reason):
        parse(MS_RESNET, ["-net", "resnet18", *flags])


def test_the_folder_of_a_run_is_named_by_its_start(tmp_path):
    folder = run_folder(tmp_path, "%A_%d_%B_%Y_%Hh_%Mm_%Ss", None, ALONE)
    assert folder.parent == tmp_path
    assert abs((datetime.strptime(folder.name, "%A_%d_%B_%Y_%Hh_%Mm_%Ss") - datetime.now()).total_seconds()) < 60


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no .*checkpoint\.pt"):
        run_folder(tmp_path, "%Y", True, ALONE)


def test_a_run_writes_the_originals_files(call, tmp_path):
    folder = call("--epochs", "2")
    assert folder.parent == tmp_path / "out" / "checkpoint" / "resnet18" / "6" / "0.1" / "ImageNet_ACC"
    assert {path.name.split("-")[1] for path in folder.glob("resnet18-*-*.pth")} == {"1", "2"}
    board = scalars(tmp_path / "out" / "runs" / folder.relative_to(tmp_path / "out" / "checkpoint"))
    assert {"Train/acc", "Test/Average loss", "Test/Accuracy"} <= board.keys()


def test_the_loss_of_ten_iterations_is_logged_by_iteration_and_by_image(call, tmp_path):
    folder = call("-b", "1", "--width", "2")
    board = scalars(tmp_path / "out" / "runs" / folder.relative_to(tmp_path / "out" / "checkpoint"))
    assert board["Train/avg_loss"].keys() == board["Train/avg_loss_numpic"].keys() == {10, 20}
    assert sum(board["Train/avg_loss"].values()) / 2 == pytest.approx(logged(folder, "train_loss")[0], rel=1e-5)


def test_the_last_epoch_runs_at_rate_0_and_the_first_is_already_one_step_down(call):
    folder = call("--epochs", "2")
    assert logged(folder, "lr") == pytest.approx([0.05, 0.0])


def test_the_rate_goes_up_and_down_again_with_several_periods(call):
    folder = call("--epochs", "4", preset=Preset(nets=MS_RESNET.nets, periods=2))
    assert logged(folder, "lr") == pytest.approx([0.05, 0.0, 0.05, 0.1])


def test_end_early_stops_before_training(call):
    assert call("--end_early", "True", preset=Preset(nets=MS_RESNET.nets, flags=("--end_early",))) is None


def test_a_killed_run_resumes_bit_equal_in_its_own_folder(call, monkeypatch):
    whole = call("--epochs", "2", root="whole")
    batches = iter(range(100))

    def interrupt(*_):
        if next(batches) == 4:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("common.ms_resnet.files.RunFiles.on_step", interrupt)
        call("--epochs", "2", root="parts")
    parts = call("--epochs", "2", "--resume", root="parts")
    expected, actual = (torch.load(folder / "checkpoint.pt", weights_only=True)["model"] for folder in (whole, parts))
    assert len(list(parts.parent.iterdir())) == 1
    assert all(torch.equal(expected[key], actual[key]) for key in expected)


def test_saved_weights_give_the_logged_accuracy_in_the_test_script(call, capsys, monkeypatch, tmp_path, images):
    folder = call()
    capsys.readouterr()
    expected = (
        f"top-1 {logged(folder, 'test_acc1')[0]:.2f} %, top-5 {logged(folder, 'test_acc5')[0]:.2f} % of 10 images"
    )
    (weights,) = folder.glob("*.pth")
    words = ("-weights", weights, "--data-path", images, "-net", "resnet18", "--tiny", "--width", "4", "-gpu", "False")
    monkeypatch.setattr(sys, "argv", ["test.py", *map(str, words)])
    run(partial(trainer.test, MS_RESNET))
    assert expected in capsys.readouterr().out


def test_a_batch_that_is_smaller_than_one_is_refused(call, capsys):
    with pytest.raises(SystemExit):
        call("-b", "0")
    assert "raise -b" in capsys.readouterr().err


def test_cutmix_and_dropout_draw_the_same_in_every_process(monkeypatch):
    draws = []
    for rank in range(2):
        monkeypatch.setattr("common.training.program.start", lambda *_, rank=rank: Process(rank, 2, rank, None))
        begin(
            argparse.Namespace(device="cpu", local_rank=rank, ignored=[], seed=445, deterministic=False), one_seed=True
        )
        draws.append((draw_box(32, 32, 1.0), torch.rand(3).tolist()))
    assert draws[0] == draws[1]
