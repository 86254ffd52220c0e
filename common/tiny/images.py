"""Tiny image data sets: scikit-learn's handwritten digits, coloured and placed at random on a dark ground.

They are written in the form their data set was published in, so that a tiny run walks the whole path of a real one.
"""

import colorsys
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UserError
from common.files import atomic_path
from common.tiny.recordings import digits, write_once


def write_tiny_images(name: str, folder: str | Path, *, per_class: int, test_per_class: int, seed: int = 0) -> Path:
    """Write a tiny data set in the published form of the data set `name`; each image shows another digit.

    | name | files |
    |---|---|
    | cifar10 | `cifar-10-batches-py/`: pickled batches of 32 x 32 pixels |
    | cifar100 | `cifar-100-python/`: the same; the ten digits are fine labels, below and from 5 coarse ones |
    | imagenet | `{train,val}/digit<n>/*.JPEG` of different sizes |

    A folder that was written with the same arguments is left alone. The same arguments give the same images.

    Args:
        name: one of the names above.
        folder: where to write.
        per_class: training images per class.
        test_per_class: test images per class; in both parts together at most 170.
        seed: chooses the digits, their places and colours.

    Raises:
        UserError: arguments outside these ranges, or a folder that cannot be written.
    """
    if name not in _WRITERS or min(per_class, test_per_class) < 1 or per_class + test_per_class > 170:
        raise UserError(
            f"tiny images: expected a name of {', '.join(_WRITERS)} and 1 to 170 images per class in both parts "
            f"together; got {name!r}, {per_class} and {test_per_class}"
        )
    settings = {"name": name, "per_class": per_class, "test_per_class": test_per_class, "seed": seed}
    return write_once(folder, settings, partial(_WRITERS[name], per_class=per_class, test_per_class=test_per_class))


def paint_digit(digit: np.ndarray, height: int, width: int, hue: float, rng: np.random.Generator) -> np.ndarray:
    """A picture, uint8 `[height, width, 3]`, of a digit `[8, 8]` (0 to 16) in a colour of about `hue` (0 to 1)."""
    from scipy.ndimage import zoom

    side = int(min(height, width) * rng.uniform(0.7, 0.95))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    ink = np.zeros((height, width, 1))
    ink[top : top + side, left : left + side, 0] = zoom(digit / 16, side / 8, order=1).clip(0, 1)
    colour = np.array(colorsys.hsv_to_rgb((hue + rng.uniform(-0.02, 0.02)) % 1, 0.9, rng.uniform(0.8, 1.0)))
    ground = rng.uniform(0, 0.25, 3) + rng.normal(0, 0.03, (height, width, 3))
    return np.rint(255 * (ink * colour + (1 - ink) * ground).clip(0, 1)).astype(np.uint8)


def _write_cifar10(folder: Path, per_class: int, test_per_class: int, rng: np.random.Generator) -> None:
    folder = folder / "cifar-10-batches-py"
    pixels, labels = _cifar_images(per_class + test_per_class, rng)
    train, test = np.split(np.arange(len(labels)), [10 * per_class])
    for number, part in enumerate(np.array_split(train, 5), start=1):
        _write_batch(folder / f"data_batch_{number}", pixels, {"labels": labels}, part)
    _write_batch(folder / "test_batch", pixels, {"labels": labels}, test)
    _pickle(folder / "batches.meta", {"label_names": [f"digit{digit}" for digit in range(10)], "num_vis": 3072})


def _write_cifar100(folder: Path, per_class: int, test_per_class: int, rng: np.random.Generator) -> None:
    folder = folder / "cifar-100-python"
    pixels, labels = _cifar_images(per_class + test_per_class, rng)
    classes = {"fine_labels": labels, "coarse_labels": labels // 5}
    train, test = np.split(np.arange(len(labels)), [10 * per_class])
    for name, part in (("train", train), ("test", test)):
        _write_batch(folder / name, pixels, classes, part)
    fine, coarse = [f"digit{digit}" for digit in range(10)], ["below_5", "from_5"]
    _pickle(folder / "meta", {"fine_label_names": fine, "coarse_label_names": coarse})


def _cifar_images(per_class: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pictures `[N, 32, 32, 3]` and their digits `[N]`."""
    drawn = list(digits(10, per_class, rng))
    pixels = np.stack([paint_digit(image, 32, 32, rng.uniform(), rng) for _, _, image in drawn])
    return pixels, np.array([digit for digit, _, _ in drawn])


def _write_batch(path: Path, pixels: np.ndarray, labels: dict[str, np.ndarray], part: np.ndarray) -> None:
    """Pickle the images of the indices `part` as CIFAR does: a row per image, its red, green and blue plane in turn."""
    batch = {
        "batch_label": path.name,
        "data": pixels[part].transpose(0, 3, 1, 2).reshape(len(part), -1),
        "filenames": [f"{index:05d}.png" for index in part],
    }
    _pickle(path, batch | {key: values[part].tolist() for key, values in labels.items()})


def _pickle(path: Path, content: dict) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        pickle.dump(content, stream, protocol=2)  # the published files' protocol


def _write_imagenet(folder: Path, per_class: int, test_per_class: int, rng: np.random.Generator) -> None:
    for digit, number, image in digits(10, per_class + test_per_class, rng):
        height, width = rng.integers(56, 81, 2)
        picture = Image.fromarray(paint_digit(image, height, width, rng.uniform(), rng))
        part = "train" if number < per_class else "val"
        with atomic_path(folder / part / f"digit{digit}" / f"{number:04d}.JPEG") as temporary:
            picture.save(temporary, format="JPEG", quality=90)


_WRITERS: dict[str, Callable[..., None]] = {
    "cifar10": _write_cifar10,
    "cifar100": _write_cifar100,
    "imagenet": _write_imagenet,
}
