"""What a test of weights writes, against numbers counted by hand."""

import csv
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import ConcatDataset

from common.analysis import evaluation
from common.analysis.evaluation import calibration_error, class_names, evaluate_fully, in_order, per_class, sample_name
from common.datasets.cifar import eval_transform
from common.datasets.imagenet import image_folder
from common.layout import Layout
from common.neurons import LIFNode
from common.training import Process, evaluate_classification, make_loader

ALONE = Process(0, 1, 0, torch.device("cpu"))


class Brightness(torch.nn.Module):
    """A neuron that everything goes through, and the label as many quarters as the picture is bright."""

    layout = Layout("b c h w", 3, (32, 32))

    def __init__(self):
        super().__init__()
        self.neuron, self.count = LIFNode(threshold=0.25), torch.nn.Linear(1, 3, bias=False)

    def forward(self, x):
        mean = self.neuron(x[None])[0].mean((1, 2, 3), keepdim=True).flatten(1)
        return 8 * (torch.tensor([0.0, 0.5, 1.0]) - mean).abs().neg() + 0 * self.count(mean)


@pytest.fixture
def pictures(tmp_path):
    """Three classes of three pictures by brightness; one of `bright` is dark, and `grey` is always taken for `dark`."""
    for name, levels in {"a_dark": (0, 0, 0), "b_grey": (0, 0, 255), "c_bright": (255, 255, 0)}.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for number, level in enumerate(levels):
            Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(tmp_path / "data" / name / f"{number}.png")
    return image_folder(tmp_path / "data", eval_transform("cifar10", normalise=False))


def rows(path):
    return [*csv.DictReader(path.open())]


def test_the_files_say_what_was_counted(pictures, tmp_path, capsys):
    loader = make_loader(pictures, 4, train=False, process=ALONE)
    evaluate = partial(evaluate_classification, loader=loader, loss_fn=F.cross_entropy, process=ALONE)
    model, folder = Brightness(), tmp_path / "evaluation"
    result = evaluate_fully(model, evaluate, pictures, ALONE, folder)
    assert result["acc1"] == pytest.approx(100 * 5 / 9)
    assert str(folder) in capsys.readouterr().out
    classes = {row["class"]: row for row in rows(folder / "per_class.csv")}
    assert [row["accuracy"] for row in classes.values()] == ["100.00", "0.00", "66.67"]
    assert [row["precision"] for row in classes.values()] == ["50.00", "", "66.67"]
    assert [[*row.values()] for row in rows(folder / "confusion.csv")] == [
        ["a_dark", "3", "0", "0"], ["b_grey", "2", "0", "1"], ["c_bright", "1", "0", "2"],
    ]  # fmt: skip
    wrong = rows(folder / "wrong.csv")
    assert [row["sample"].rsplit("data/")[-1] for row in wrong] == [
        "b_grey/0.png", "b_grey/1.png", "b_grey/2.png", "c_bright/2.png",
    ]  # fmt: skip
    assert [row["taken for"] for row in wrong] == ["a_dark", "a_dark", "c_bright", "a_dark"]
    assert float(rows(folder / "firing_rates.csv")[0]["rate"]) == pytest.approx(3 / 9)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["firing_rate"] == pytest.approx(3 / 9)
    confidence = float(wrong[0]["probability"])
    assert metrics["ece"] == pytest.approx(abs(5 / 9 - confidence), abs=1e-4)
    assert metrics["ac"] > 0
    assert Image.open(folder / "confusion.png").size[0] > 300


def test_the_calibration_error_is_that_of_the_definition():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    labels = np.array([0, 1, 1, 0])
    # bins of 1/15: {0.9, 0.9} half right, {0.6} right, {0.7} wrong
    assert calibration_error(probabilities, labels) == pytest.approx((2 * 0.4 + 0.4 + 0.7) / 4)
    assert calibration_error(np.eye(3), np.arange(3)) == 0


def test_samples_of_several_processes_come_in_the_order_of_the_data(monkeypatch):
    logits, labels = torch.arange(14.0).reshape(7, 2), torch.arange(7)

    def gather(gathered, own):
        gathered[:] = [(logits[rank::3], labels[rank::3]) for rank in range(3)]

    monkeypatch.setattr(evaluation.dist, "all_gather_object", gather)
    process = Process(1, 3, 1, torch.device("cpu"))
    outputs, targets = in_order(logits[1::3], labels[1::3], process)
    assert torch.equal(outputs, logits)
    assert torch.equal(targets, labels)


def test_wrong_samples_have_the_names_of_their_files(pictures):
    first, both = pictures.samples[0][0], ConcatDataset([pictures, pictures])
    assert sample_name(both, 9) == sample_name(pictures, 0) == first
    clips, windows = SimpleNamespace(clips=[("walk", 3)]), SimpleNamespace(paths=[Path("a.npy")], clips=2)
    assert [sample_name(clips, 0), sample_name(windows, 0), sample_name(object(), 4)] == ["walk", "a.npy", "sample 4"]


def test_outputs_without_a_class_are_numbers(pictures):
    assert class_names(pictures, 4) == ["a_dark", "b_grey", "c_bright", "3"]
    table = per_class(np.array([[2, 0], [0, 0]]), ["cat", "none"])
    assert table[2] == ("none", 0, "", "", "")
