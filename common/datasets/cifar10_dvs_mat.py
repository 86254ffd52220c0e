"""CIFAR10-DVS as MA-SNN uses it: `.mat` or `.aedat` recordings, the last hundred of each class to test."""

import re
from pathlib import Path

import numpy as np

from common.datasets.cifar10_dvs import CIFAR10DVS
from common.datasets.event_windows import EventWindows
from common.errors import UserError
from common.events.aedat import read_aedat2
from common.events.matlab import read_matlab

_CLOCK = 1 << 32
"""Microseconds after which the clock of an AEDAT 2.0 recording starts again."""


class CIFAR10DVSMat(EventWindows):
    """CIFAR10-DVS in `<root>/<class>/<number>.mat` or `<root>/<class>/cifar10_<class>_<number>.aedat`.

    The label is the position of the class folder in sorted order. The numbers from 0.9 (largest + 1) up are the test
    part: 900 to 999 in the published set. Where a class has both kinds of files, the `.mat` files are read.
    """

    name = "cifar10dvs_mat"
    citation = CIFAR10DVS.citation
    url = CIFAR10DVS.url
    num_classes = 10
    class_names = CIFAR10DVS.class_names

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.classes = [folder.name for folder in class_folders(self.root)]

    @classmethod
    def find(cls, root: Path, part: str) -> list[Path]:
        """The recordings of a part, by class and number."""
        found = [path for category in class_folders(root) for path in _divide(category)[part]]
        if not found:
            raise UserError(
                f"{root}: no {part} recordings; expected <class>/<number>.mat or "
                f"<class>/cifar10_<class>_<number>.aedat; fetch the archives from {cls.url} and unpack them there"
            )
        return found

    def read(self, path: Path) -> tuple[np.ndarray, int]:
        """Events and label."""
        events = read_matlab(path) if path.suffix == ".mat" else read_aedat_as_matlab(path)
        return events, self.classes.index(path.parent.name)


def class_folders(root: Path) -> list[Path]:
    """The folders in `root` that hold recordings, sorted."""
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return [folder for folder in folders if folder.is_dir() and _numbered(folder)]


def read_aedat_as_matlab(path: Path) -> np.ndarray:
    """The events [N] that the published conversion to MATLAB makes of an AEDAT 2.0 recording.

    x = 127 - x_raw, y = y_raw, p = 1 - p_raw, times from 0 with turns of the 32-bit clock undone.

    Raises:
        UserError: not AEDAT 2.0, or cut short.
    """
    events = read_aedat2(path, orientation="raw")
    events["x"] = 127 - events["x"]
    events["p"] = 1 - events["p"]
    t = events["t"]
    turns = np.cumsum(np.diff(t, prepend=t[:1]) < -_CLOCK // 2)
    events["t"] = t - t[:1] + turns * _CLOCK
    return events


def _numbered(folder: Path) -> dict[int, Path]:
    """{number: recording}, `.mat` before `.aedat`."""
    for suffix in (".mat", ".aedat"):
        paths = (path for path in folder.glob(f"[!.]*{suffix}"))
        numbered = {int(match[1]): path for path in paths if (match := re.search(r"(\d+)$", path.stem))}
        if numbered:
            return numbered
    return {}


def _divide(folder: Path) -> dict[str, list[Path]]:
    numbered = sorted(_numbered(folder).items())
    first_test = 0.9 * (numbered[-1][0] + 1)
    return {
        "train": [path for number, path in numbered if number < first_test],
        "test": [path for number, path in numbered if number >= first_test],
    }
