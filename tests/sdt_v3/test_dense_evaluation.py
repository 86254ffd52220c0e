"""Detections are judged as pycocotools judges them, segmentations by hand-counted pixels."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from common.errors import UserError
from common.tiny.scenes import write_tiny_scenes
from common.training import Process, make_loader
from sdt_v3 import dense_evaluation as evaluation
from sdt_v3.data import coco as coco_data
from sdt_v3.data.coco import CocoInstances
from sdt_v3.data.dense_transforms import DetectionTest, collate_test

ALONE = Process(0, 1, 0, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = write_tiny_scenes("coco", tmp_path_factory.mktemp("scenes"), train=1, test=12)
    path = root / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    return CocoInstances(root, False)


def found(data, place, rng, noise):
    """The objects of a picture as detections, moved, doubled and confused with `noise`."""
    _, target = data.read(place)
    boxes, labels, masks = target["boxes"].repeat(2, 1), target["labels"].repeat(2), target["masks"].repeat(2, 1, 1)
    if not noise:
        boxes, labels, masks = target["boxes"], target["labels"], target["masks"]
    shift = torch.from_numpy(rng.normal(0, noise, boxes.shape)).float()
    wrong = torch.from_numpy(rng.random(len(labels)) < noise / 30)
    masks = (
        torch.stack([mask.roll(int(s[0]), 1) for mask, s in zip(masks, shift, strict=True)]) if len(masks) else masks
    )
    return {
        "boxes": boxes + shift,
        "labels": torch.where(wrong, (labels + 1) % 4, labels),
        "scores": torch.from_numpy(rng.random(len(boxes))),
        "masks": masks,
    }


def results_of(data, noise):
    rng, rows = np.random.default_rng(0), []
    for place, image in enumerate(data.images):
        rows += evaluation.as_results(found(data, place, rng, noise), image["id"], data.category_ids)
    return rows


def test_scores_equal_those_of_pycocotools(data):
    results = results_of(data, noise=3.0)
    scores = evaluation.coco_scores(data, results)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data.path))
        for kind in ("bbox", "segm"):
            rows = [{key: value for key, value in row.items() if kind == "bbox" or key != "bbox"} for row in results]
            judge = COCOeval(truth, truth.loadRes(rows), kind)
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
            for name, value in zip(evaluation.MEASURES, judge.stats, strict=False):
                assert scores[f"{kind}_{name}"] == pytest.approx(100 * max(value, 0), abs=1e-12)
            assert 5 < scores[f"{kind}_mAP"] < 95, "a test that tells something"


def test_perfect_detections_score_100_and_none_0(data):
    scores = evaluation.coco_scores(data, results_of(data, noise=0.0))
    assert scores["bbox_mAP"] == scores["segm_mAP"] == 100
    assert set(evaluation.coco_scores(data, []).values()) == {0.0}


def test_pycocotools_does_where_the_faster_package_is_missing(data, monkeypatch):
    results = results_of(data, noise=3.0)
    faster = evaluation.coco_scores(data, results)
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    assert coco_data.tools().annotations is COCO
    assert evaluation.coco_scores(data, results_of(data, noise=3.0)) == pytest.approx(faster, abs=1e-9)
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"pip install .*dense"):
        coco_data.tools()


class Oracle(nn.Module):
    """Finds the objects of the pictures in the order in which it is shown them."""

    def __init__(self, data, places):
        super().__init__()
        self.data, self.places, self.batches = data, iter(places), []

    def forward(self, images, targets, sizes, originals):
        self.batches.append(len(images))
        assert all(side % 32 == 0 for side in images.shape[2:])
        return [found(self.data, next(self.places), np.random.default_rng(0), 0.0) for _ in images]


def test_every_picture_is_evaluated_once_by_some_process(data):
    data = CocoInstances(data.path.parents[1], False, DetectionTest((64, 64)))
    shown = []
    for batch_size, processes in ((1, 1), (3, 2)):
        for rank in range(processes):
            process = Process(rank, processes, rank, torch.device("cpu"))
            loader = make_loader(data, batch_size, train=False, process=process, collate_fn=collate_test)
            alone = make_loader(data, 1, train=False, process=process, collate_fn=collate_test)
            images = [(place, image) for place, ((image,), _) in zip(loader.sampler, alone, strict=True)]
            places = [place for place, _ in images]
            if processes == 1:
                scores = evaluation.evaluate_detection(Oracle(data, places), loader, process, lambda *_: None)
                assert scores["bbox_mAP"] == 100 and scores["samples"] == 12
            shown.append(places)
    assert sorted(shown[1] + shown[2]) == shown[0] == [*range(12)]


def test_images_of_one_padded_size_share_a_batch():
    images = [torch.ones(3, 40, 64), torch.ones(3, 33, 50), torch.ones(3, 20, 64)]
    batches = list(evaluation.alike(images, 32))
    assert [places for places, _ in batches] == [[0, 1], [2]]
    assert batches[0][1].shape == (2, 3, 64, 64) and batches[0][1][1, :, 33:].sum() == 0


def test_intersection_over_union_is_counted_by_pixels():
    labels = torch.tensor([[0, 0, 1, 1], [2, 2, 255, 255]])
    predicted = torch.tensor([[0, 1, 1, 1], [2, 0, 0, 1]])
    counts = evaluation.confusion(predicted, labels, 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    scores = evaluation.intersection_over_union(counts)
    assert scores["aAcc"] == pytest.approx(100 * 4 / 6)
    assert scores["mIoU"] == pytest.approx(100 * (1 / 3 + 2 / 3 + 1 / 2) / 3), "the class that never occurs is left out"
    assert scores["mAcc"] == pytest.approx(100 * (1 / 2 + 1 + 1 / 2) / 3)


class Echo(nn.Module):
    """Sees in the red of an image, at half its size, which class there is."""

    num_classes = 3

    def forward(self, images):
        classes = images[:, 0, ::2, ::2].long()
        return 10 * nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_segmentation_of_pictures_of_any_size_is_evaluated_at_their_own(batch_size):
    samples = []
    for height, width in ((8, 12), (8, 12), (6, 8)):
        labels = torch.arange(3).repeat_interleave(4)[:width].expand(height, width)
        samples.append((labels.float().expand(3, height, width), labels.clone()))
    samples[0][1][0] = 255
    loader = make_loader(samples, batch_size, train=False, process=ALONE, collate_fn=collate_test)
    shown = []
    scores = evaluation.evaluate_segmentation(Echo(), loader, ALONE, lambda place, labels: shown.append(labels.shape))
    assert scores == pytest.approx({"mIoU": 100, "mAcc": 100, "aAcc": 100, "samples": 3})
    assert [tuple(shape) for shape in shown] == [(8, 12), (8, 12), (6, 8)]


def test_a_test_set_without_labels_is_refused():
    loader = make_loader([(torch.zeros(3, 4, 4), torch.full((4, 4), 255))], 1, train=False, process=ALONE,
                         collate_fn=collate_test)  # fmt: skip
    with pytest.raises(UserError, match="no pixel of the test set has a label"):
        evaluation.evaluate_segmentation(Echo(), loader, ALONE)
