"""The ImageNet script as a user calls it, on a few images and a narrow network."""

import csv
import sys
from functools import partial
from pathlib import Path

import pytest

from common.ms_resnet import trainer
from common.tiny.images import write_tiny_images
from common.training import run
from sma.conf import global_settings
from sma.train_amp import PRESET
from tests.programs import run_pair

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "imagenet_dogbird"
SMALL = ("-net", "resnet18", "-b", "8", "--tiny", "--width", "8", "--epochs", "1", "--device", "cpu")


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A tiny ImageNet of 20 training and 10 test images."""
    return write_tiny_images("imagenet", tmp_path_factory.mktemp("images"), per_class=2, test_per_class=1)


@pytest.fixture
def call(monkeypatch, tmp_path, images):
    """Calls the script in this process; returns the folder of the run."""

    def call_script(*arguments, data=images):
        words = ("--data-path", data, "--output-dir", tmp_path / "out", *SMALL, *arguments)
        monkeypatch.setattr(sys, "argv", ["train_amp.py", *map(str, words)])
        run(partial(trainer.main, PRESET))
        return max((tmp_path / "out").glob("checkpoint/*/*/*/*/*"))

    return call_script


def test_the_flags_have_the_originals_defaults():
    args = trainer.parse(PRESET, ["-net", "resnet104"])
    settings = (args.batch_size, args.lr, args.T, args.epochs, args.AZO, args.workers, args.seed)
    assert settings == (256, 0.1, 6, 200, False, 70, 445)


def test_the_settings_have_the_originals_names_and_values():
    values = {name: value for name, value in vars(global_settings).items() if name.isupper()}
    assert values == {
        "CHECKPOINT_PATH": "checkpoint",
        "EPOCH": 200,
        "LOG_DIR": "runs",
        "SAVE_EPOCH": 30,
        "TIME_NOW": "%A_%d_%B_%Y_%Hh_%Mm_%Ss",
    }


def test_the_weight_decay_is_ten_times_that_of_ms_resnet():
    assert PRESET.weight_decay == pytest.approx(10 * trainer.MS_RESNET.weight_decay)


@pytest.mark.parametrize("flags", [(), ("--azo",), ("--azo", "--azo-version", "loop"), ("-T", "6")])
def test_a_run_writes_the_originals_files(call, tmp_path, flags):
    folder = call(*flags)
    assert folder.parent == tmp_path / "out" / "checkpoint" / "resnet18" / "8" / "0.1" / "ImageNet_ACC"
    assert list(folder.glob("resnet18-1-*.pth"))


@pytest.mark.slow
def test_two_processes_from_another_folder(images, tmp_path):
    for result in run_pair(ROOT / "sma" / "train_amp.py", *SMALL, "--data-path", images, cwd=tmp_path):
        assert result.returncode == 0, result.stderr
    assert list(tmp_path.glob("checkpoint/resnet18/8/0.1/ImageNet_ACC/*/resnet18-1-*.pth"))


@pytest.mark.skipif(not REAL.is_dir(), reason="needs real images in ../shared/data")
def test_real_images_train_with_the_published_augmentation(call, capsys):
    call("--auto-augment", "--min-area", "0.08", data=REAL)
    assert "2 classes, 32 x 32 pixels, 36 training and 12 test images" in capsys.readouterr().out


@pytest.mark.slow
def test_tiny_imagenet_is_learnt(monkeypatch, tmp_path):
    words = "train_amp.py -net resnet18 -b 8 -lr 0.1 --tiny --device cpu --output-dir".split()
    monkeypatch.setattr(sys, "argv", [*words, str(tmp_path)])
    run(partial(trainer.main, PRESET))
    (log,) = tmp_path.glob("checkpoint/*/*/*/*/*/log.csv")
    with log.open() as stream:
        assert max(float(row["test_acc1"]) for row in csv.DictReader(stream)) > 35
