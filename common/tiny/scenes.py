"""Tiny data for detection and segmentation: coloured digits before scikit-learn's two photographs, with exact masks.

What a class is shows in shape and colour. Training and test scenes share neither digits nor parts of a photograph.
"""

import colorsys
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UserError
from common.files import atomic_path
from common.tiny.recordings import digits, write_once

CLASSES = ("zero", "one", "four", "seven")
DIGITS = (0, 1, 4, 7)
PER_CLASS = 140
"""Digits of each class; three of four train."""


def write_tiny_scenes(name: str, folder: str | Path, *, train: int, test: int, side: int = 64, seed: int = 0) -> Path:
    """Write scenes in the published form of the data set `name`.

    | name   | files                                                                                           |
    |--------|-------------------------------------------------------------------------------------------------|
    | coco   | `annotations/instances_{train,val}2017.json`, `{train,val}2017/*.jpg`; category ids have gaps    |
    | ade20k | `images/{training,validation}/*.jpg`, `annotations/{training,validation}/*.png`, `classes.txt`   |

    A folder that was written with the same arguments is left alone. The same arguments give the same scenes.

    Args:
        name: one of the names above.
        folder: where to write.
        train: training scenes.
        test: test scenes.
        side: pixels of their longer side.
        seed: chooses everything in them.

    Raises:
        UserError: arguments outside these ranges, or a folder that cannot be written.
    """
    writers = {"coco": _write_coco, "ade20k": _write_ade20k}
    if name not in writers or min(train, test) < 1 or side < 64:
        raise UserError(
            f"tiny scenes: expected a name of {', '.join(writers)}, at least one scene in each part and a side of 64 "
            f"pixels; got {name!r}, {train}, {test} and {side}"
        )
    settings = {"name": name, "train": train, "test": test, "side": side, "seed": seed}
    return write_once(folder, settings, partial(writers[name], train=train, test=test, side=side))


def scenes(part: str, count: int, side: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, list]]:
    """`count` pictures uint8 `[H, W, 3]` with their objects, (class, bool mask `[H, W]`) from back to front."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    known: dict[int, list[np.ndarray]] = {}
    for digit, number, image in digits(10, PER_CLASS, np.random.default_rng(0)):
        if digit in DIGITS and (number % 4 != 3) == (part == "train"):
            known.setdefault(DIGITS.index(digit), []).append(image)
    for _ in range(count):
        height, width = side, int(side * rng.uniform(0.7, 1.0))
        if rng.random() < 0.5:
            height, width = width, height
        picture = _ground(photographs[rng.integers(2)], part, height, width, rng)
        objects: list[tuple[int, np.ndarray]] = []
        for _ in range(rng.integers(1, 4)):
            category = int(rng.integers(len(DIGITS)))
            image = known[category][rng.integers(len(known[category]))]
            size = int(min(height, width) * rng.uniform(0.5, 0.8))
            ink = zoom(image / 16, size / 8, order=1).clip(0, 1)
            top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
            mask = np.zeros((height, width), bool)
            mask[top : top + size, left : left + size] = ink > 0.4
            if any((mask & other).sum() > 0.3 * min(mask.sum(), other.sum()) for _, other in objects):
                continue
            objects = [(known_category, other & ~mask) for known_category, other in objects]
            hue = (category / len(DIGITS) + rng.uniform(-0.03, 0.03)) % 1
            picture[mask] = np.array(colorsys.hsv_to_rgb(hue, 0.9, rng.uniform(0.8, 1.0))) * 255
            objects.append((category, mask))
        yield picture.clip(0, 255).astype(np.uint8), objects


def _ground(photograph: np.ndarray, part: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A darkened piece of the left two thirds of a photograph for training, of the right third for tests."""
    middle = 2 * photograph.shape[1] // 3
    half = photograph[:, :middle] if part == "train" else photograph[:, middle:]
    top, left = rng.integers(half.shape[0] - height + 1), rng.integers(half.shape[1] - width + 1)
    return half[top : top + height, left : left + width] * rng.uniform(0.25, 0.6)


def run_lengths(mask: np.ndarray) -> dict[str, list[int]]:
    """`mask` bool `[H, W]` as COCO's uncompressed run lengths, column by column, beginning with zeros."""
    values = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(values[1:] != values[:-1])
    return {"size": list(mask.shape), "counts": np.diff([0, *changes, mask.size]).tolist()}


def _write_coco(folder: Path, train: int, test: int, side: int, rng: np.random.Generator) -> None:
    for part, count in (("train", train), ("val", test)):
        images, annotations = [], []
        for number, (picture, objects) in enumerate(scenes(part, count, side, rng), start=1):
            name = f"{number:012d}.jpg"
            _save(picture, folder / f"{part}2017" / name)
            images.append({"id": number, "file_name": name, "height": len(picture), "width": picture.shape[1]})
            for category, mask in objects:
                y, x = np.nonzero(mask)
                box = [x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min()]
                annotations.append({
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 3 * category + 1,
                    "bbox": [int(value) for value in box],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": run_lengths(mask),
                })  # fmt: skip
        categories = [{"id": 3 * index + 1, "name": name} for index, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        with atomic_path(folder / "annotations" / f"instances_{part}2017.json") as temporary:
            temporary.write_text(json.dumps(content))


def _write_ade20k(folder: Path, train: int, test: int, side: int, rng: np.random.Generator) -> None:
    for part, name, count in (("train", "training", train), ("val", "validation", test)):
        for number, (picture, objects) in enumerate(scenes(part, count, side, rng), start=1):
            labels = np.ones(picture.shape[:2], np.uint8)
            for category, mask in objects:
                labels[mask] = category + 2
            labels[:2] = 0  # what is not labelled
            stem = f"ADE_{part}_{number:08d}"
            _save(picture, folder / "images" / name / f"{stem}.jpg")
            with atomic_path(folder / "annotations" / name / f"{stem}.png") as temporary:
                Image.fromarray(labels).save(temporary)
    with atomic_path(folder / "classes.txt") as temporary:
        temporary.write_text("\n".join(("ground", *CLASSES)) + "\n")


def _save(picture: np.ndarray, path: Path) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="JPEG", quality=92)
