"""DVS128-Gait, by day or by night, cut and counted as SDT V3 does (its loaders for the two are the same)."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.analysis.samples import Reading
from common.datasets import dvs_gait
from common.errors import UserError
from common.events.windows import bin_frames, cut_clips, window

MAX_SHIFT = 20
"""Pixels by which a training recording is moved at most, along each axis."""


class GaitWindows(Dataset):
    """Windows of T parts as (counts float32 `[T, 2, x, y]`, label) pairs; the label is a folder's name, 0 to 20.

    Training: a window at a random time, half of the recordings moved by up to 20 pixels. Evaluation: the first window.
    A window without events is all 0. Text files below `root` are converted to arrays first.

    Args:
        root: folder of `{train,test}/<label>/*` text files, or of their `npy` conversion; day or night.
        train: which part.
        T: parts of a window.
        duration: of one part, in microseconds.
        factor: x // factor and y // factor are counted.

    Raises:
        UserError: nothing usable in `root`.
    """

    num_classes = dvs_gait.DVSGait.num_classes

    def __init__(self, root: str | Path, train: bool, T: int, duration: int = 15_000, *, factor: int = 1):
        dvs_gait.convert(Path(root))
        self.train, self.T, self.duration, self.factor = train, T, duration, factor
        self.paths = dvs_gait.DVSGait.find(Path(root), "train" if train else "test")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.paths[index]
        events = dvs_gait.load_events(path)
        cut = self.random_window(events) if self.train else cut_clips(events, self.T * self.duration, 1)[0]
        try:
            frames = bin_frames(cut, self.T, self.duration, side=dvs_gait.DVSGait.side, shrink=self.factor)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        return torch.from_numpy(frames), int(path.parent.name)

    @property
    def reading(self) -> Reading:
        """How a recording is read for evaluation."""
        side = dvs_gait.DVSGait.side
        return Reading(self.T, downsample=self.factor, sensor_size=(side, side), dt=self.duration)

    def random_window(self, events: np.ndarray) -> np.ndarray:
        """A window of the recording, moved half of the time."""
        if not len(events):
            return events
        length, first, last = self.T * self.duration, int(events["t"][0]), int(events["t"][-1])
        spare = max(last - first - length, 0)
        return moved(window(events, first + int(torch.randint(spare + 1, ())), length))


def moved(events: np.ndarray) -> np.ndarray:
    """Half of the time the events as they are, else moved by up to `MAX_SHIFT` pixels; those that leave are lost."""
    if torch.rand(()) < 0.5:
        return events
    events = events.copy()
    for axis in "xy":
        events[axis] += int(torch.randint(-MAX_SHIFT, MAX_SHIFT + 1, ()))
    inside = np.all([(events[axis] >= 0) & (events[axis] < dvs_gait.DVSGait.side) for axis in "xy"], axis=0)
    return events[inside]
