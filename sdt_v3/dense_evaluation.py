"""Detections by COCO's precision, segmentations by intersection over union; each picture counts once.

All numbers are percent. Pictures of different sizes in a batch are computed each at its own size, so that no number
depends on the size of a batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.errors import UserError
from common.training import Process, sum_over_ranks
from sdt_v3.data.coco import CocoInstances, indexed, quietly, tools
from sdt_v3.data.dense_transforms import padded_batch
from sdt_v3.losses import IGNORED, resize

MEASURES = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
"""What is said of boxes (`bbox_...`) and masks (`segm_...`), the first of COCOeval's numbers."""
Show = Callable[[int, object], None]
"""Is given the number of a picture in the data set and what was found in it."""


def alike(images: Sequence[Tensor], divisor: int) -> Iterator[tuple[list[int], Tensor]]:
    """The images that have one size when their sides are padded to multiples of `divisor`: their places and a batch."""
    groups: dict[tuple, list[int]] = {}
    for place, image in enumerate(images):
        groups.setdefault(tuple(padded_batch([image], divisor).shape), []).append(place)
    for places in groups.values():
        yield places, padded_batch([images[place] for place in places], divisor)


@torch.no_grad()
def detect(
    model: nn.Module, images: Sequence[Tensor], originals: Sequence[tuple[int, int]], device: torch.device
) -> list:
    """Detections of normalised images, at the sizes of their `originals`, on the CPU."""
    found: list = [None] * len(images)
    for places, batch in alike(images, 32):
        sizes = [tuple(images[place].shape[1:]) for place in places]
        outputs = model(batch.to(device), None, sizes, [originals[place] for place in places])
        for place, output in zip(places, outputs, strict=True):
            found[place] = {name: value.cpu() for name, value in output.items()}
    return found


def evaluate_detection(
    model: nn.Module, loader: DataLoader, process: Process, show: Show | None = None
) -> dict[str, float]:
    """COCO's precision of boxes and masks over all processes; `model` is left in evaluation mode."""
    model.eval()
    results: list[dict] = []
    places = iter(loader.sampler)
    for images, facts in loader:
        found = detect(model, images, [fact["original"] for fact in facts], process.device)
        for fact, detections in zip(facts, found, strict=True):
            place = next(places)
            results += as_results(detections, fact["image_id"], loader.dataset.category_ids)
            if show is not None:
                show(place, detections)
    if process.world_size > 1:
        gathered: list = [None] * process.world_size
        dist.all_gather_object(gathered, results)
        results = [row for rows in gathered for row in rows]
    scores = coco_scores(loader.dataset, results) if process.is_main else {}
    names = [f"{kind}_{measure}" for kind in ("bbox", "segm") for measure in MEASURES]
    values = sum_over_ranks([scores.get(name, 0.0) for name in names], process)
    return dict(zip(names, values, strict=True)) | {"samples": len(loader.dataset)}


def as_results(detections: Mapping[str, Tensor], image_id: int, category_ids: Sequence[int]) -> list[dict]:
    """Detections of a picture as COCO's result files have them."""
    boxes = detections["boxes"].double()
    boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
    masks = np.asfortranarray(detections["masks"].permute(1, 2, 0).numpy().astype(np.uint8))
    packed = tools().masks.encode(masks) if len(boxes) else []
    return [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score, "segmentation": mask}
        for box, label, score, mask in zip(
            boxes, detections["labels"].tolist(), detections["scores"].tolist(), packed, strict=True
        )
    ]


def coco_scores(data: CocoInstances, results: Sequence[Mapping]) -> dict[str, float]:
    """`MEASURES` in percent of `results` for the pictures of `data`; 0 where nothing is to be found, or nothing was."""
    scores = {}
    for kind in ("bbox", "segm"):
        stats = [0.0] * len(MEASURES)
        if results:
            rows = [dict(row) for row in results]
            if kind == "segm":
                for row in rows:  # COCO's sizes are then those of the masks
                    del row["bbox"]
            truth = indexed(data.content)
            evaluation = quietly(tools().evaluation, truth, quietly(truth.loadRes, rows), kind)
            evaluation.params.imgIds = sorted(image["id"] for image in data.images)
            for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
                quietly(step)
            stats = evaluation.stats
        for measure, value in zip(MEASURES, stats, strict=False):
            scores[f"{kind}_{measure}"] = 100 * max(float(value), 0.0)
    return scores


@torch.no_grad()
def segment(model: nn.Module, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]], device: torch.device) -> list:
    """The class of each pixel, `[H, W]` of `sizes`, of normalised images, which are not padded."""
    found: list = [None] * len(images)
    for places, batch in alike(images, 1):
        for place, logits in zip(places, model(batch.to(device)), strict=True):
            found[place] = resize(resize(logits[None], batch.shape[2:]), sizes[place])[0].argmax(0)
    return found


def evaluate_segmentation(
    model: nn.Module, loader: DataLoader, process: Process, show: Show | None = None
) -> dict[str, float]:
    """mIoU, mAcc and aAcc over all processes; `model` is left in evaluation mode.

    Raises:
        UserError: no pixel has a label.
    """
    model.eval()
    counts = torch.zeros(model.num_classes, model.num_classes, dtype=torch.long)
    places = iter(loader.sampler)
    for images, labels in loader:
        found = segment(model, images, [tuple(each.shape) for each in labels], process.device)
        for predicted, truth in zip(found, labels, strict=True):
            place, predicted = next(places), predicted.cpu()
            counts += confusion(predicted, truth, model.num_classes)
            if show is not None:
                show(place, predicted)
    counts = torch.tensor(sum_over_ranks(counts.flatten().tolist(), process)).view_as(counts)
    if not counts.sum():
        raise UserError("there is nothing to evaluate: no pixel of the test set has a label; check --data_path")
    return intersection_over_union(counts) | {"samples": len(loader.dataset)}


def confusion(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Pixels of each label and predicted class, `[labels, classes]`; those labelled 255 do not count."""
    known = labels != IGNORED
    pairs = labels[known] * num_classes + predicted[known]
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def intersection_over_union(counts: Tensor) -> dict[str, float]:
    """Mean over the classes that occur of intersection over union and of accuracy, and the accuracy of all pixels."""
    counts = counts.double()
    right, labelled, predicted = counts.diag(), counts.sum(1), counts.sum(0)
    union, occurring = labelled + predicted - right, labelled > 0
    return {
        "mIoU": 100 * float((right / union)[union > 0].mean()),
        "mAcc": 100 * float((right / labelled)[occurring].mean()),
        "aAcc": 100 * float(right.sum() / counts.sum()),
    }
