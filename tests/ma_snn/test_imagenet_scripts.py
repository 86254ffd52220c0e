"""The ImageNet scripts as a user calls them, on a few painted digits and a narrow network."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from common.ms_resnet import trainer
from common.tiny.images import write_tiny_images
from common.training import run
from ma_snn.Att_Res_SNN import train_amp, train_finetune
from tests.programs import run_pair

ROOT = Path(__file__).parents[2]
SMALL = ("--tiny", "-net", "resnet18", "--width", "16", "-T", "1", "-b", "10", "--epochs", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_tiny_images("imagenet", tmp_path_factory.mktemp("images"), per_class=2, test_per_class=1)


@pytest.fixture
def call(monkeypatch, tmp_path, images):
    """Calls a script in this process."""

    def call_script(function, *arguments, net=SMALL):
        paths = ("--data-path", images, "--output-dir", tmp_path)
        monkeypatch.setattr(sys, "argv", ["script", *map(str, (*net, *paths, *arguments))])
        run(function)

    return call_script


@pytest.fixture
def weights(call, tmp_path):
    """Weights that `train_amp.py` saved."""
    call(partial(trainer.main, train_amp.PRESET))
    (path,) = tmp_path.glob("checkpoint/resnet18/10/0.1/ImageNet_T=1ACC/*/resnet18-1-best.pth")
    return path


def test_saved_weights_can_be_tested(call, weights, capsys):
    call(partial(trainer.test, train_amp.PRESET), "-weights", weights, net=SMALL[:-4])
    output = capsys.readouterr().out
    assert f"{weights}: top-1" in output
    assert "of 10 images" in output


def test_finetuning_starts_from_given_weights(call, weights, capsys):
    call(partial(trainer.main, train_finetune.PRESET), "--weights", weights)
    printed = capsys.readouterr().out
    assert "last test accuracy" in printed
    assert "from scratch" not in printed


def test_finetuning_without_weights_says_that_it_starts_from_scratch(call, capsys):
    call(partial(trainer.main, train_finetune.PRESET), "--end_early")
    assert "without --weights this starts from scratch" in capsys.readouterr().out


def test_end_early_stops_before_training(call, tmp_path):
    call(partial(trainer.main, train_amp.PRESET), "--end_early")
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.slow
def test_two_processes_of_the_published_launcher(images, tmp_path):
    script = ROOT / "ma_snn/Att_Res_SNN/train_amp.py"
    for result in run_pair(script, *SMALL, "--data-path", images, flag=True, cwd=tmp_path):
        assert result.returncode == 0, result.stderr
    assert list(tmp_path.glob("checkpoint/resnet18/10/0.1/ImageNet_T=1ACC/*/resnet18-1-best.pth"))


@pytest.mark.parametrize("attention", ["no", "CA"])
def test_the_paper_s_comparisons_train_and_are_tested(call, tmp_path, attention, capsys):
    call(partial(trainer.main, train_amp.PRESET), "--attention", attention)
    (path,) = tmp_path.glob("checkpoint/resnet18/10/0.1/ImageNet_T=1ACC/*/resnet18-1-best.pth")
    kinds = {"sa" in key for key in torch.load(path, weights_only=True) if ".attention." in key}
    assert kinds == (set() if attention == "no" else {False})
    call(partial(trainer.test, train_amp.PRESET), "-weights", path, "--attention", attention, net=SMALL[:-4])
    assert "of 10 images" in capsys.readouterr().out
