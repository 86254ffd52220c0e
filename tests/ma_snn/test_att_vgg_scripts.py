"""The four scripts of Att-VGG-SNN as a user calls them, on a few images and a narrow network."""

import argparse
import csv
import importlib
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from common.errors import UserError
from common.tiny.images import write_tiny_images
from common.training import Process, run
from ma_snn.Att_VGG.flags import Recipe, exact, parse, settings_name
from ma_snn.Att_VGG.recipe import (
    Mixing,
    Schedule,
    SteppedAverage,
    build_loss,
    build_optimizer,
    build_schedule,
    labels_of,
)
from ma_snn.Att_VGG.results import Results
from ma_snn.data import images
from ma_snn.train_images import main

ROOT = Path(__file__).parents[2]
SCRIPTS = ("CIFAR10_VGG", "CIFAR10_VGG_Att", "CIFAR100_VGG", "CIFAR100_VGG_Att")
CSA = Recipe("cifar10", "CSA")
ALONE = Process(0, 1, 0, torch.device("cpu"))
SMALL = ("--tiny", "--width", "0.125", "-b", "5", "--epochs", "1", "--device", "cpu")


def recipe(script):
    return importlib.import_module(f"ma_snn.Att_VGG.{script}").RECIPE


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Calls a script in this process; returns its output folder."""
    monkeypatch.setattr(images, "TINY_SET", {"per_class": 1, "test_per_class": 1})

    def call_script(*arguments, script="CIFAR10_VGG_Att", output="out"):
        folder = tmp_path / output
        monkeypatch.setattr(sys, "argv", [script, *map(str, (*SMALL, "--output-dir", folder, *arguments))])
        run(partial(main, recipe(script)))
        return folder

    return call_script


def column(folder, name):
    (log,) = folder.glob("pt/*/log.csv")
    with log.open() as stream:
        return [float(row[name]) for row in csv.DictReader(stream)]


def saved(path):
    return torch.load(path, weights_only=True)


def tags(folder):
    return set(EventAccumulator(str(folder)).Reload().Tags()["scalars"])


def test_the_flags_have_the_originals_defaults():
    args = parse(CSA, [])
    assert (args.T, args.batch_size, args.epochs, args.workers, args.opt, args.lr, args.momentum) == (
        1, 32, 90, 16, "sgd", 0.1, 0.9
    )  # fmt: skip
    assert (args.weight_decay, args.norm_weight_decay, args.label_smoothing, args.clip_grad_norm) == (
        0,
        None,
        0.1,
        None,
    )
    assert (args.mixup_alpha, args.cutmix_alpha, args.auto_augment, args.random_erase) == (0.2, 1.0, "ta_wide", 0.1)
    assert (args.lr_scheduler, args.lr_warmup_epochs, args.lr_warmup_method, args.lr_warmup_decay) == (
        "cosa", 5, "linear", 0.01
    )  # fmt: skip
    assert (args.lr_step_size, args.lr_gamma, args.interpolation, args.train_crop_size) == (30, 0.1, "bilinear", 176)
    assert (args.val_resize_size, args.val_crop_size, args.seed, args.output_dir) == (232, 224, 2023, Path("logs"))
    assert (args.model_ema, args.model_ema_steps, args.model_ema_decay, args.sync_bn) == (False, 32, 0.99998, False)
    assert (args.ra_sampler, args.ra_reps, args.start_epoch, args.resume, args.amp) == (False, 4, 0, None, None)
    assert args.loss == "mse"


def test_the_authors_command_is_understood():
    words = (
        "--T 1 --data-path DIR --batch-size 64 --lr 0.001 --lr-scheduler cosa --epochs 200 --lr-warmup-epochs 0 "
        "--opt adamw --train-crop-size 32 --val-crop-size 32 --val-resize-size 32 --model spiking_vgg11_bn --cupy"
    )
    args = parse(CSA, words.split())
    assert (args.train_crop_size, args.opt, args.ignored) == (32, "adamw", ["cupy"])
    assert settings_name(args) == (
        "cifar10_CSA_mse_spiking_vgg11_bn_b64_e200_adamw_lr0.001_wd0.0_ls0.1_ma0.2_ca1.0_sbn0_ra0_re0.1_aaugta_wide"
        "_size32_32_32_seed2023_T1"
    )


@pytest.mark.parametrize("model", ["spiking_vgg11", "resnet18"])
def test_networks_that_the_original_has_without_attention_or_not_at_all_are_refused(model, capsys):
    with pytest.raises(SystemExit):
        parse(CSA, ["--model", model])
    assert "spiking_vgg11_bn" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--T", "0"], "at least one time step"),
        (["--train-crop-size", "16"], "must be at least 32"),
        (["--opt", "sgd_nesterov", "--momentum", "0"], "needs a positive one"),
        (["--test-only"], "add --weights"),
    ],
)
def test_a_combination_that_cannot_run_is_refused(words, reason):
    with pytest.raises(UserError, match=reason):
        parse(CSA, words)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_run_writes_the_originals_files(call, script, capsys):
    out = call(script=script)
    (folder,) = (out / "pt").iterdir()
    assert re.fullmatch(
        rf"{script.split('_')[0].lower()}_(CSA|no)_mse_spiking_vgg7_b5_.*_T1_\d\d_\d\d_\d\d", folder.name
    )
    assert ("_CSA_" in folder.name) == script.endswith("Att")
    weights = {"checkpoint_0.pth", "checkpoint_latest.pth", "checkpoint_max_test_acc1.pth", "checkpoint.pt"}
    cards = {Path(name).with_suffix(".json").name for name in weights}
    assert {path.name for path in folder.iterdir()} == weights | cards | {"log.csv", "log.jsonl", "curves.png"}
    assert "lr=0.002" in (out / folder.name / "args.txt").read_text()
    parts = {f"{part}_{metric}" for part in ("train", "test") for metric in ("loss", "acc1", "acc5")}
    assert parts <= tags(out / folder.name)
    assert "not the paper's experiment" in capsys.readouterr().out


def test_a_checkpoint_holds_what_the_originals_hold(call):
    out = call("--epochs", "2", "--model-ema")
    (folder,) = (out / "pt").iterdir()
    assert {path.name for path in folder.glob("*.pth")} == {
        f"checkpoint_{name}.pth" for name in ("1", "latest", "max_test_acc1", "max_ema_test_acc1")
    }
    last = saved(folder / "checkpoint_latest.pth")
    assert last.keys() == {
        "model", "optimizer", "lr_scheduler", "epoch", "args", "scaler", "max_test_acc1", "model_ema",
        "max_ema_test_acc1",
    }  # fmt: skip
    assert (last["epoch"], last["args"]["model"]) == (1, "spiking_vgg7")
    assert last["max_test_acc1"] == max(column(out, "test_acc1"))
    assert {"ema_test_loss", "ema_test_acc1", "ema_test_acc5"} <= tags(out / folder.name)


def results_of(folder, accuracies):
    """The checkpoints that a run with these test accuracies leaves."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    write = Results(argparse.Namespace(), folder, optimizer, schedule, torch.amp.GradScaler(enabled=False))
    history = [{"epoch": number, "test_acc1": accuracy} for number, accuracy in enumerate(accuracies, start=1)]
    for length in range(1, len(history) + 1):
        write(model, history[:length])
    return {path.stem: saved(path)["epoch"] for path in folder.glob("*.pth")}


def test_the_best_checkpoint_is_the_first_of_the_best(tmp_path):
    assert results_of(tmp_path, [10, 30, 30, 20]) == {
        "checkpoint_3": 3, "checkpoint_latest": 3, "checkpoint_max_test_acc1": 1
    }  # fmt: skip


AS_PUBLISHED = ("--augment", "--mixup-alpha", "0.2", "--cutmix-alpha", "1", "--model-ema", "--model-ema-steps", "1")


@pytest.mark.parametrize("kind", [Results, Mixing], ids=["after an epoch", "in an epoch"])
def test_a_killed_run_resumes_bit_equal(call, monkeypatch, kind):
    words = (*AS_PUBLISHED, "--epochs", "2")
    whole = call(*words, output="whole")

    def interrupt(self, *arguments):
        signal.raise_signal(signal.SIGTERM)
        return original(self, *arguments)

    original = kind.__call__
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(kind, "__call__", interrupt)
        call(*words, output="parts")
    parts = call(*words, "--resume", "latest", output="parts")
    expected, actual = (saved(next(out.glob("pt/*/checkpoint_latest.pth"))) for out in (whole, parts))
    assert (actual["epoch"], actual["max_test_acc1"]) == (1, expected["max_test_acc1"])
    assert column(parts, "train_acc5") == column(whole, "train_acc5")
    for part in ("model", "model_ema"):
        assert all(torch.equal(expected[part][key], value) for key, value in actual[part].items())


def test_resume_means_the_exact_checkpoint():
    assert exact(Path("latest")) is True
    assert exact(Path("logs/pt/run/checkpoint_latest.pth")) == Path("logs/pt/run/checkpoint.pt")
    assert exact(Path("logs/pt/run/checkpoint.pt")) == Path("logs/pt/run/checkpoint.pt")
    assert exact(None) is None


def test_a_run_of_other_settings_is_not_the_latest(call, refusal):
    call()
    assert "--resume: there is no" in refusal("--lr", "0.1", "--resume", "latest")


def test_a_run_of_the_other_loss_is_refused(call, refusal):
    call("--resume-path", "run")
    assert "loss is 'mse' there, 'ce' here" in refusal("--resume-path", "run", "--loss", "ce", "--resume")


def test_the_folders_can_be_asked_for(call, capsys):
    out = call("--print-logdir", "--resume-path", "run")
    assert capsys.readouterr().out.splitlines() == [str(out / "run"), str(out / "pt" / "run")]
    assert not out.exists()


@pytest.mark.parametrize("script", ["CIFAR10_VGG", "CIFAR100_VGG_Att"])
def test_weights_can_be_tested(call, script, capsys):
    out = call("--resume-path", "run", script=script)
    capsys.readouterr()
    call("--test-only", "--weights", out / "pt" / "run" / "checkpoint_max_test_acc1.pth", script=script)
    printed = capsys.readouterr().out
    assert f"test accuracy {column(out, 'test_acc1')[0]:.2f} %" in printed
    assert "of 10 images; mean neuron output 0." in printed
    assert "classifier.1" in printed


def test_rates_are_those_of_the_whole_test_set(call, capsys):
    printed = []
    weights = call("--resume-path", "run") / "pt" / "run" / "checkpoint_latest.pth"
    for batch in ("3", "10"):
        capsys.readouterr()
        call("--test-only", "--weights", weights, "-b", batch)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_missing_images_name_the_folder_and_the_remedy(refusal, tmp_path):
    line = refusal("--data-path", tmp_path)
    assert str(tmp_path) in line
    assert "--download" in line


def test_the_default_crop_is_said_to_be_large(call, capsys):
    call("--augment", "--train-crop-size", "64")
    assert (
        "training crops of 64 x 64 pixels; the authors' commands give --train-crop-size 32" in capsys.readouterr().out
    )


def test_the_last_smaller_batch_is_dropped_unless_kept(call):
    first, second = (
        saved(call("-b", "4", *words, output=words[-1]) / "pt" / "run" / "checkpoint_latest.pth")["optimizer"]
        for words in (("--resume-path", "run", "--drop-last"), ("--resume-path", "run", "--no-drop-last"))
    )
    assert (first["state"][0]["step"], second["state"][0]["step"]) == (2, 3)


@pytest.mark.parametrize(
    "words", [["--loss", "ce", "--mixup-alpha", "0"], ["--ra-sampler", "-b", "4"], ["--opt", "rmsprop", "--amp"]]
)
def test_other_settings_train(call, words):
    loss = column(call(*words), "train_loss")
    assert np.isfinite(loss).all()


def test_the_squared_error_is_against_the_largest_share_of_a_mixed_target():
    logits = torch.tensor([[0.5, 0.0, 0.25]])
    hard, mixed = torch.tensor([2]), torch.tensor([[0.4, 0.0, 0.6]])
    loss = build_loss(parse(CSA, []))
    assert loss(logits, hard) == loss(logits, mixed) == pytest.approx((0.5**2 + 0.75**2) / 3)
    assert labels_of(mixed).tolist() == [2]


def test_the_cross_entropy_is_smoothed_and_takes_mixed_targets():
    logits, mixed = torch.randn(4, 3), torch.rand(4, 3).softmax(1)
    loss = build_loss(parse(CSA, ["--loss", "ce", "--label-smoothing", "0.3"]))
    smoothed = 0.7 * mixed + 0.1
    assert loss(logits, mixed).item() == pytest.approx(-(smoothed * logits.log_softmax(1)).sum(1).mean().item())


@pytest.mark.parametrize("method", ["linear", "constant"])
@pytest.mark.parametrize("kind", ["cosa", "step", "exp"])
@pytest.mark.parametrize("warm_up", [0, 3])
def test_the_rate_is_that_of_torchs_recursion(kind, method, warm_up):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    rates = torch.optim.lr_scheduler
    schedule = {
        "cosa": lambda: rates.CosineAnnealingLR(optimizer, 10 - warm_up),
        "step": lambda: rates.StepLR(optimizer, 2, 0.3),
        "exp": lambda: rates.ExponentialLR(optimizer, 0.3),
    }[kind]()
    if warm_up:
        first = {
            "linear": lambda: rates.LinearLR(optimizer, start_factor=0.01, total_iters=warm_up),
            "constant": lambda: rates.ConstantLR(optimizer, factor=0.01, total_iters=warm_up),
        }[method]()
        schedule = rates.SequentialLR(optimizer, [first, schedule], milestones=[warm_up])
    ours = Schedule(kind, 10, warm_up, method, 0.01, 2, 0.3)
    for epoch in range(10):
        assert ours(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        schedule.step()


def test_the_schedule_starts_at_the_first_epoch_that_is_left():
    args = parse(CSA, "--epochs 10 --lr-warmup-epochs 0 --lr 1 --start-epoch 5".split())
    optimizer = build_optimizer(args, nn.Linear(2, 2))
    build_schedule(args, optimizer)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)


def test_batch_norms_can_have_a_weight_decay_of_their_own():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = build_optimizer(parse(CSA, "--wd 0.1 --norm-weight-decay 0.2".split()), model)
    assert [(group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [(0.1, 2), (0.2, 2)]


def mixing(*words):
    return Mixing(parse(CSA, ["--num-classes", "4", *words]))


def test_mixup_mixes_a_batch_with_itself_rolled_by_one():
    x, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    mixed, target = mixing("--cutmix-alpha", "0")(x, labels, 0)
    share = target[0, 0]
    assert 0 < share < 1
    torch.testing.assert_close(mixed, share * x + (1 - share) * x.roll(1, 0))
    torch.testing.assert_close(target, share * F.one_hot(labels) + (1 - share) * F.one_hot(labels.roll(1)))


def test_cutmix_counts_the_pixels_of_its_box():
    x, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    for _ in range(20):
        mixed, target = mixing("--mixup-alpha", "0")(x, labels, 0)
        own = (mixed == x).all(1).float().mean((1, 2))
        torch.testing.assert_close(own, target[range(4), labels])


def test_each_batch_gets_one_of_the_two():
    both, x, labels = mixing(), torch.rand(4, 3, 8, 8), torch.arange(4)
    cut = [bool((both(x, labels, 0)[0] == x).any()) for _ in range(100)]
    assert 25 < sum(cut) < 75


def test_without_mixing_the_labels_stay():
    x, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    mixed, target = mixing("--mixup-alpha", "0", "--cutmix-alpha", "0")(x, labels, 0)
    assert mixed is x
    assert target is labels


def test_the_average_is_a_copy_in_the_warm_up_and_stands_still_between_its_steps():
    words = "--model-ema-steps 2 --model-ema-decay 0.99 --epochs 64 -b 32 --lr-warmup-epochs 1"
    model = nn.Linear(1, 1, bias=False)
    average, seen = SteppedAverage(parse(CSA, words.split()), model, ALONE, batches=3), []
    for value in range(1, 7):  # two epochs of three batches, the decay is 1 - 0.01 * 32 * 2 / 64 = 0.99
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        seen.append(average.module.weight.item())
    # the third is a copy as well; the fourth, the first after the warm-up, is the last copy, as n_averaged was 0
    assert seen == pytest.approx([1, 1, 3, 4, 4, 0.99 * 4 + 0.01 * 6])


def test_both_data_sets_are_normalised_as_cifar10(tmp_path):
    root = write_tiny_images("cifar100", tmp_path / "tiny", per_class=1, test_per_class=1)
    args = parse(Recipe("cifar100", "no"), ["--tiny", "--data-path", str(root), "--num-classes", "10"])
    args.tiny, args.data_path, args.output_dir = True, None, tmp_path
    test_set = images.parts(args, ALONE)(False)
    pixels = torch.from_numpy(np.asarray(test_set.data[0]) / 255).permute(2, 0, 1)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)))
    torch.testing.assert_close(test_set[0][0], ((pixels - mean) / std).float())


@pytest.mark.parametrize("policy", ["none", "ta_wide", "ra", "augmix", "imagenet", "cifar10", "svhn"])
def test_training_crops_have_the_size_asked_for(policy):
    args = parse(CSA, ["--train-crop-size", "40", "--auto-augment", policy, "--random-erase", "1"])
    picture = Image.fromarray(np.random.randint(0, 256, (32, 32, 3), dtype=np.uint8))
    assert images.train_transform(args)(picture).shape == (3, 40, 40)


def test_scripts_start_from_their_own_folder():
    path = ROOT / "ma_snn" / "Att_VGG" / "CIFAR10_VGG_Att.py"
    result = subprocess.run([sys.executable, path.name, "--help"], cwd=path.parent, capture_output=True, text=True)
    assert "usage:" in result.stdout, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_tiny_images_are_learnt(monkeypatch, tmp_path, script):
    monkeypatch.setattr(sys, "argv", [script, "--tiny", "--device", "cpu", "--output-dir", str(tmp_path)])
    run(partial(main, recipe(script)))
    assert max(column(tmp_path, "test_acc1")) > 65
