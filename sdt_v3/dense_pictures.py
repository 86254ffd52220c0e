"""What detectors and segmentors see, drawn on pictures."""

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from common.files import atomic_path
from sdt_v3.losses import IGNORED


def palette(count: int) -> np.ndarray:
    """`count` colours, uint8 `[count, 3]`, neighbours far apart in hue."""
    hues = (np.arange(count) * 0.618034) % 1
    colours = [colorsys.hsv_to_rgb(h, 0.65 + 0.35 * (i % 2), 1 - 0.35 * (i // 2 % 2)) for i, h in enumerate(hues)]
    return (255 * np.array(colours).reshape(-1, 3)).astype(np.uint8)


def draw_objects(
    picture: np.ndarray, objects: Mapping[str, Tensor], classes: Sequence[str], least: float = 0.0
) -> np.ndarray:
    """`picture` uint8 `[H, W, 3]` with the masks, boxes and names of its objects, scores too if they have any.

    Objects with scores below `least` are left out.
    """
    from matplotlib.font_manager import findfont
    from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

    image = torch.from_numpy(picture.copy()).permute(2, 0, 1)
    kept = objects["scores"] >= least if "scores" in objects else slice(None)
    boxes, labels, masks = (objects[name][kept].cpu() for name in ("boxes", "labels", "masks"))
    if not len(boxes):
        return picture
    names = [classes[label] for label in labels.tolist()]
    if "scores" in objects:
        names = [f"{name} {score:.2f}" for name, score in zip(names, objects["scores"][kept].tolist(), strict=True)]
    colours = [tuple(colour) for colour in palette(len(classes))[labels.numpy()].tolist()]
    image = draw_segmentation_masks(image, masks, alpha=0.5, colors=colours)
    side = min(picture.shape[:2])
    style = {"width": max(side // 300, 1), "font": findfont("DejaVu Sans"), "font_size": max(side // 25, 10)}
    return draw_bounding_boxes(image, boxes, names, colours, **style).permute(1, 2, 0).numpy()


def draw_labels(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`picture` uint8 `[H, W, 3]` under the colours of its `labels` `[H, W]`; what is ignored stays as it is."""
    colours = palette(int(labels[labels != IGNORED].max(initial=0)) + 1)
    known = labels != IGNORED
    drawn = picture.copy()
    drawn[known] = (0.4 * picture[known] + 0.6 * colours[labels[known]]).astype(np.uint8)
    return drawn


def save_picture(picture: np.ndarray, path: Path) -> Path:
    """Write uint8 `[H, W, 3]` or a map `[H, W]` as PNG."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
    return path
