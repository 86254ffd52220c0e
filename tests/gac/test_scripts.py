"""The CIFAR and ImageNet scripts as a user calls them, on a few images and narrow networks."""

import csv
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from common.datasets import cifar
from common.ms_resnet import trainer
from common.tiny.images import write_tiny_images
from common.training import run, start
from common.training.image_data import cifar_root
from gac import data, train_images
from gac.flags import parse
from gac.ImageNet.conf import global_settings
from gac.ImageNet.train_amp import PRESET
from gac.ImageNet.visual import test_GradCAM as gradcam
from tests.programs import run_pair, run_program

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data"
SMALL = ("--tiny", "--width", "2", "--epochs", "1", "--device", "cpu")
IMAGENET = ("-net", "resnet18", "-b", "10", *SMALL)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A tiny ImageNet of 20 training and 10 test images."""
    return write_tiny_images("imagenet", tmp_path_factory.mktemp("images"), per_class=2, test_per_class=1)


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Calls a script in this process; returns its output folder."""
    monkeypatch.setattr(data, "TINY_SET", {"per_class": 1, "test_per_class": 1})

    def call_script(script, *arguments, output="out"):
        monkeypatch.setattr(sys, "argv", ["script", "--output-dir", *map(str, (tmp_path / output, *arguments))])
        run(script)
        return tmp_path / output

    return call_script


@pytest.fixture
def main(call):
    """Calls CIFAR/main.py; by default on CIFAR10."""
    return lambda *arguments, **settings: call(
        train_images.main, *SMALL, "--dataset", "cifar10", *arguments, **settings
    )


@pytest.fixture
def train_amp(call, images):
    """Calls ImageNet/train_amp.py; returns the folder of the run."""

    def call_script(*arguments, data=images, **settings):
        out = call(partial(trainer.main, PRESET), *IMAGENET, "--data-path", data, *arguments, **settings)
        return max(out.glob("checkpoint/*/*/*/*/*"))

    return call_script


@pytest.fixture
def refusal(capsys):
    """Calls something that must refuse; returns the one line it prints."""

    def refuse(script, *arguments, **settings):
        with pytest.raises(SystemExit) as exit:
            script(*arguments, **settings)
        assert exit.value.code == 2
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, error
        return lines[0]

    return refuse


def column(path, name):
    with path.open() as stream:
        return [float(row[name]) for row in csv.DictReader(stream)]


def weights_of(path):
    return torch.load(path, weights_only=True)["model"]


def test_the_cifar_flags_have_the_originals_defaults():
    args = parse([])
    settings = (args.batch_size, args.lr, args.seed, args.T, args.workers, args.epochs, args.beta, args.cutmix_prob)
    assert settings == (64, 0.1, 1000, 6, 16, 250, 1.0, 0.5)
    assert (args.dataset, args.coding, args.width, args.kernel_size) == ("cifar100", "gac", 64, 4)


def test_the_imagenet_flags_have_the_originals_defaults():
    args = trainer.parse(PRESET, ["-net", "resnet34"])
    settings = (args.batch_size, args.lr, args.T, args.epochs, args.beta, args.cutmix_prob, args.kernel_size, args.seed)
    assert settings == (256, 0.1, 4, 250, 1.0, 1.0, 4, 445)


def test_the_settings_have_the_originals_names_and_values():
    values = {name: value for name, value in vars(global_settings).items() if name.isupper()}
    assert values == {
        "CHECKPOINT_PATH": "checkpoint",
        "EPOCH": 250,
        "LOG_DIR": "runs",
        "SAVE_EPOCH": 30,
        "TIME_NOW": "%A_%d_%B_%Y_%Hh_%Mm_%Ss",
    }


@pytest.mark.parametrize("dataset", cifar.STATISTICS)
def test_cifar_pickles_become_the_originals_result_files(main, dataset, capsys):
    out = main("--dataset", dataset)
    assert "best acc=" in (out / f"{dataset.upper()}_T=2.log").read_text()
    assert {"checkpoint.pt", "log.csv", "log.jsonl", "curves.png"} <= {path.name for path in out.iterdir()}
    assert (out / f"{dataset.upper()}_T=2.pth").exists()
    assert "not the paper's experiment" in capsys.readouterr().out


def test_a_killed_cifar_run_resumes_bit_equal(main, monkeypatch):
    whole = main("--epochs", "2", "--augment", "--cutmix_prob", "1", output="whole")

    def interrupt(*arguments):
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(train_images, "write_results", interrupt)
        main("--epochs", "2", "--augment", "--cutmix_prob", "1", output="parts")
    parts = main("--epochs", "2", "--augment", "--cutmix_prob", "1", "--resume", output="parts")
    expected, actual = (weights_of(folder / "checkpoint.pt") for folder in (whole, parts))
    assert all(torch.equal(expected[key], actual[key]) for key in expected)


def test_the_test_script_gives_the_logged_accuracy(main, call, capsys):
    out = main()
    capsys.readouterr()
    words = ("--tiny", "--width", "2", "--dataset", "cifar10", "--weights", out / "CIFAR10_T=2.pth", "--device", "cpu")
    call(partial(train_images.main, testing=True), *words)
    expected = f"Test acc={column(out / 'log.csv', 'test_acc1')[0]:.2f} % of 10 images"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize("coding", ["direct", "latency", "poisson", "phase"])
def test_other_codings_train(main, coding):
    assert weights_of(main("--coding", coding) / "checkpoint.pt")


def test_the_number_of_time_steps_reaches_the_gate(main):
    assert weights_of(main("-T", "3") / "checkpoint.pt")["encoding.TA.sharedMLP.0.weight"].shape[:2] == (1, 3)


def test_one_time_step_is_enough_without_the_gate(main, refusal):
    assert "T of at least 2" in refusal(main, "-T", "1")
    assert main("-T", "1", "--coding", "direct")


def test_missing_cifar_names_the_folder_and_the_remedy(main, refusal, tmp_path):
    line = refusal(main, "--data-path", tmp_path)
    assert str(tmp_path) in line
    assert "--download" in line


def test_cifar_of_the_current_folder_is_found(monkeypatch, tmp_path):
    (tmp_path / "data" / "cifar-100-python").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert cifar_root(parse([]), start("cpu"), {}) == Path("data")


def test_weights_of_another_width_are_refused(main, refusal):
    weights = main() / "CIFAR10_T=2.pth"
    assert "conv1.weight" in refusal(main, "--test-only", "--weights", weights, "--width", "4", output="other")


def test_imagenet_folders_become_the_originals_result_files(train_amp, tmp_path):
    folder = train_amp()
    assert folder.parent == tmp_path / "out" / "checkpoint" / "resnet18" / "10" / "0.1" / "ImageNet_ACC"
    assert {"resnet18-best.pth", "checkpoint.pt", "log.csv", "curves.png"} <= {path.name for path in folder.iterdir()}
    assert list((tmp_path / "out" / "runs" / "resnet18" / "10" / "0.1" / "ImageNet_ACC" / folder.name).iterdir())


def test_imagenet_weights_are_tested_top_1_and_top_5(train_amp, call, images, capsys):
    folder = train_amp()
    capsys.readouterr()
    words = ("-net", "resnet18", "-weights", folder / "resnet18-best.pth", "--data-path", images, "--tiny")
    call(partial(trainer.test, PRESET), *words, "--width", "2", "--device", "cpu")
    top1, top5 = (column(folder / "log.csv", f"test_acc{k}")[0] for k in (1, 5))
    assert f"top-1 {top1:.2f} %, top-5 {top5:.2f} % of 10 images" in capsys.readouterr().out


def test_grad_cam_draws_the_picture_that_the_network_sees(train_amp, images, monkeypatch, tmp_path, capsys):
    weights = train_amp() / "resnet18-best.pth"
    picture, output = next(images.glob("val/*/*.JPEG")), tmp_path / "cam.png"
    words = (picture, "-net", "resnet18", "--weights", weights, "--tiny", "--width", "2", "--output", output)
    monkeypatch.setattr(sys, "argv", ["test_GradCAM.py", *map(str, words), "--device", "cpu"])
    run(gradcam.main)
    assert Image.open(output).size == (32, 32)
    assert "class" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["CIFAR/main.py", "ImageNet/test.py"])
def test_scripts_start_from_their_own_folder(script):
    path = ROOT / "gac" / script
    result = run_program(path.name, "--help", cwd=path.parent)
    assert "usage:" in result.stdout, result.stderr


def test_two_processes_train_from_another_folder(images, tmp_path):
    script = ROOT / "gac" / "ImageNet" / "train_amp.py"
    for result in run_pair(script, *IMAGENET, "--data-path", images, flag=True, cwd=tmp_path):
        assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("checkpoint/resnet18/10/0.1/ImageNet_ACC/*/resnet18-best.pth"))) == 1


def test_own_pictures_in_class_folders_name_the_files(call, tmp_path, capsys):
    for name in ("train/cat/1", "train/dog/2", "test/cat/3", "test/dog/4"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (int(name[-1]) * 60, 0, 0)).save(tmp_path / "pets" / f"{name}.png")
    flags = ("--width", "2", "--epochs", "1", "--device", "cpu", "-T", "2", "-b", "2", "--workers", "0")
    out = call(train_images.main, *flags, "--data-path", tmp_path / "pets")
    assert {"pets_T=2.pth", "pets_T=2.log"} <= {path.name for path in out.iterdir()}
    assert "pets, gac coding: T=2, 2 classes" in capsys.readouterr().out


@pytest.mark.skipif(not (REAL / "cifar10_jpg").is_dir(), reason="needs real images in ../shared/data")
def test_real_cifar_images_train(main, capsys):
    main("--data-path", REAL / "cifar10_jpg", "--augment", "-b", "50")
    assert "10 classes, 400 training and 100 test images" in capsys.readouterr().out


@pytest.mark.skipif(not (REAL / "imagenet_dogbird").is_dir(), reason="needs real images in ../shared/data")
def test_real_imagenet_images_train_with_the_published_augmentation(train_amp, capsys):
    train_amp("--auto-augment", "--min-area", "0.08", "--cutmix_prob", "1", data=REAL / "imagenet_dogbird")
    assert "2 classes, 32 x 32 pixels, 36 training and 12 test images" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("dataset", cifar.STATISTICS)
def test_tiny_cifar_is_learnt(monkeypatch, tmp_path, dataset):
    words = ["main.py", "--tiny", "--dataset", dataset, "--output-dir", str(tmp_path), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", words)
    run(train_images.main)
    loss = column(tmp_path / "log.csv", "train_loss")
    assert loss[-1] < 0.75 * loss[0]
    assert max(column(tmp_path / "log.csv", "test_acc1")) > 70


@pytest.mark.slow
def test_tiny_imagenet_is_learnt(monkeypatch, tmp_path):
    words = "train_amp.py -net resnet18 -b 8 -lr 0.1 --tiny --device cpu --output-dir".split()
    monkeypatch.setattr(sys, "argv", [*words, str(tmp_path)])
    run(partial(trainer.main, PRESET))
    (log,) = tmp_path.glob("checkpoint/*/*/*/*/*/log.csv")
    assert max(column(log, "test_acc1")) > 35
