"""Tiny data of MA-SNN in the containers that its loaders read; see `common.datasets.tiny` for what is recorded."""

from functools import partial
from pathlib import Path

import numpy as np

from common.datasets import dvs_gesture_hdf5
from common.datasets.tiny import recordings, write_once, write_tiny
from common.events.matlab import write_matlab
from common.events.text import write_text

SIZE = (128, 128)
TEST_SHARE = 10
"""One recording in so many is for testing."""


def write_tiny_gesture(folder: str | Path, *, classes: int = 10, users: int = 29, seed: int = 0) -> Path:
    """`raw/DvsGesture.tar.gz` of AEDAT 3.1 recordings, one per user, and what `dvs_gesture_hdf5.convert` makes of it.

    From user 24 on they are for testing, so that `users` has to be 24 to 170.

    Returns:
        `folder`, the root of `DVSGestureHDF5`.
    """
    folder = Path(folder)
    source = write_tiny("dvs128", folder / "raw", classes=classes, per_class=users, seed=seed)
    dvs_gesture_hdf5.convert(source / "DvsGesture.tar.gz", folder, workers=1)
    return folder


def write_tiny_cifar10dvs(folder: str | Path, *, classes: int = 10, per_class: int = 60, seed: int = 0) -> Path:
    """MATLAB files `<class>/<number>.mat`, of which `CIFAR10DVSMat` tests on the last tenth of each class."""
    settings = {"name": "cifar10dvs_mat", "classes": classes, "per_class": per_class, "seed": seed}
    return write_once(folder, settings, partial(_write_mat, classes=classes, per_class=per_class))


def write_tiny_gait(folder: str | Path, *, classes: int = 10, per_class: int = 60, seed: int = 0) -> Path:
    """Text files `{train,test}/<label>/<number>.txt`, the last tenth of each class for testing."""
    settings = {"name": "dvs_gait", "classes": classes, "per_class": per_class, "seed": seed}
    return write_once(folder, settings, partial(_write_gait, classes=classes, per_class=per_class))


def _write_mat(folder: Path, classes: int, per_class: int, rng: np.random.Generator) -> None:
    for digit, number, events in recordings(classes, per_class, SIZE, rng):
        write_matlab(folder / str(digit) / f"{number}.mat", events)


def _write_gait(folder: Path, classes: int, per_class: int, rng: np.random.Generator) -> None:
    first_test = per_class - max(1, per_class // TEST_SHARE)
    for digit, number, events in recordings(classes, per_class, SIZE, rng):
        part = "train" if number < first_test else "test"
        write_text(folder / part / str(digit) / f"{number:03d}.txt", events)
