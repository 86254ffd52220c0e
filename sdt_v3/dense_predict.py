"""What trained detectors and segmentors find in a picture, as a list and drawn on it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from common.analysis.figures import new_figure, save_figure
from common.datasets.imagenet import load_rgb
from common.predict import Guess, Predictor
from sdt_v3.data.dense_transforms import test_image
from sdt_v3.dense_evaluation import detect, segment
from sdt_v3.dense_pictures import draw_objects, palette, save_picture
from sdt_v3.models.mask_rcnn import MaskRCNN
from sdt_v3.models.semantic_fpn import SemanticFPN

LEAST = 0.3
"""Score from which an object is shown."""
SMALLEST = 384
"""Pixels of the shorter side of a drawn picture; smaller ones are enlarged, so that names can be read."""
SCALES = {MaskRCNN: (1333, 800), SemanticFPN: (2048, 512)}
"""The release's, for weights without a card."""


def drawer(predictor: Predictor) -> Callable[[str | Path, Path], list[Guess]] | None:
    """What finds and draws for the network of `predictor`, called with a picture and a file; None if it classifies.

    It raises a UserError if the picture cannot be read.
    """
    kind = type(predictor.model)
    if kind not in SCALES:
        return None
    return partial(objects if kind is MaskRCNN else regions, predictor, predictor.reading.fit or SCALES[kind])


def look(find: Callable[..., list], predictor: Predictor, scale: tuple[int, int], source: str | Path) -> tuple:
    """A picture as pixels `[H, W, 3]`, and what `find` finds in it."""
    picture = load_rgb(str(source))
    images, sizes = [test_image(picture, scale)], [picture.size[::-1]]
    (found,) = find(predictor.model, images, sizes, torch.device(predictor.device))
    return np.asarray(picture), found


def objects(predictor: Predictor, scale: tuple[int, int], source: str | Path, path: Path) -> list[Guess]:
    """The objects that a detector finds in a picture, the surest first; boxes and masks are drawn to `path`."""
    pixels, found = look(detect, predictor, scale, source)
    names = names_of(predictor)
    zoom = -(-SMALLEST // min(pixels.shape[:2]))
    larger = found | {"boxes": found["boxes"] * zoom, "masks": enlarged(found["masks"], zoom)}
    save_picture(draw_objects(pixels.repeat(zoom, 0).repeat(zoom, 1), larger, names, LEAST), path)
    rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
    guesses = [Guess(label, names[label], score, tuple(box)) for label, score, box in rows if score >= LEAST]
    return sorted(guesses, key=lambda one: -one.probability)


def regions(predictor: Predictor, scale: tuple[int, int], source: str | Path, path: Path) -> list[Guess]:
    """The share of each class that a segmentor finds in a picture, the largest first; drawn to `path` with a legend."""
    pixels, labels = look(segment, predictor, scale, source)
    labels = labels.cpu().numpy()
    counts, names = np.bincount(labels.ravel()), names_of(predictor)
    found = [Guess(label, names[label], counts[label] / labels.size) for label in np.flatnonzero(counts).tolist()]
    found.sort(key=lambda one: -one.probability)
    draw_regions(pixels, labels, found, path)
    return found


def names_of(predictor: Predictor) -> list[str]:
    """The classes of a network, numbers for those without a name."""
    return [predictor.name(label) for label in range(predictor.model.num_classes)]


def enlarged(masks: torch.Tensor, zoom: int) -> torch.Tensor:
    """Masks `[n, H, W]` with each pixel `zoom` times as large a side."""
    return masks.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def draw_regions(picture: np.ndarray, labels: np.ndarray, found: Sequence[Guess], path: Path) -> Path:
    """A picture, its map of labels beside it, and a legend of the twenty largest classes."""
    from matplotlib.patches import Patch

    height = 3.2 * picture.shape[0] / picture.shape[1]
    figure = new_figure(6.6, height + 0.4 + 0.16 * -(-min(len(found), 20) // 3), layout="constrained")
    colours = palette(int(labels.max()) + 1)
    for axes, shown in zip(figure.subplots(1, 2), (picture, colours[labels]), strict=True):
        axes.imshow(shown, interpolation="nearest")
        axes.axis("off")
    patches = [Patch(color=colours[one.label] / 255, label=f"{one.name} {one.probability:.0%}") for one in found[:20]]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    return save_figure(figure, path)
