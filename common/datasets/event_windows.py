"""What the data sets of MA-SNN have in common: windows of recordings, counted into bins, at a random time to train."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.analysis.samples import Reading
from common.errors import UserError
from common.events.event import EVENT, in_order
from common.events.windows import bin_frames, cut_clips, window


class EventWindows(Dataset):
    """Windows of T bins of dt us as (frames float32, label) pairs, x before y; see `common.events.windows`.

    A training sample is one window, frames [T, 2, X, Y], a test sample `clips` of them spread over the recording,
    frames [clips, T, 2, X, Y]. A window longer than its recording begins with it and ends in empty bins.

    Random times come from torch's generator, which a `DataLoader` seeds anew for each worker and epoch.

    Args:
        root: folder of the data set, see the subclass.
        train: the training or the test part.
        T: bins per window, the time steps of the network.
        dt: width of a bin in microseconds.
        shrink: down-sampling, `ds` in the original: X = Y = side // shrink.
        clips: windows per test recording.
        random_start: train with windows at random times, drawn anew for each sample; else with the first one.
        transform: applied to the frames of each sample.

    Attributes:
        paths: the recordings, in order.

    Raises:
        UserError: nothing usable in `root`, with the remedy; or settings that make no frames.
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    url: ClassVar[str]
    side: ClassVar[int] = 128
    num_classes: ClassVar[int]

    def __init__(
        self,
        root: str | Path,
        train: bool,
        T: int,
        dt: int,
        *,
        shrink: int = 1,
        clips: int = 1,
        random_start: bool = True,
        transform: Callable[[Tensor], Tensor] | None = None,
    ):
        self.root, self.train, self.T, self.dt = Path(root), train, T, dt
        self.shrink, self.clips, self.random_start, self.transform = shrink, clips, random_start, transform
        if clips < 1:
            raise UserError(f"the number of test clips must be at least 1, got {clips}")
        self._bin(np.empty(0, EVENT))  # refuses impossible settings here and not in a worker
        self.paths = self.find(self.root, self.part)

    @property
    def part(self) -> str:
        """The name of the part, "train" or "test"."""
        return "train" if self.train else "test"

    @property
    def duration(self) -> int:
        """Length of a window in microseconds."""
        return self.T * self.dt

    @classmethod
    def find(cls, root: Path, part: str) -> list[Path]:
        """The recordings of a part, sorted.

        Raises:
            UserError: there are none; the message says how to get them.
        """
        raise NotImplementedError

    def read(self, path: Path) -> tuple[np.ndarray, int]:
        """(events [N] of dtype `EVENT`, label) of a recording.

        Raises:
            UserError: damaged.
        """
        raise NotImplementedError

    def first_start(self, events: np.ndarray) -> int:
        """Where the window of a training sample begins when it is not drawn at random."""
        return 0

    def start(self, events: np.ndarray) -> int:
        """Where the window of a training sample begins."""
        if not self.random_start or not len(events):
            return self.first_start(events)
        first, last = int(events["t"][0]), int(events["t"][-1]) - self.duration
        return int(torch.randint(first, last, ())) if last > first else first

    @property
    def reading(self) -> Reading:
        """How a recording is read for evaluation, but for what `transform` does."""
        sensor = (self.side, self.side)
        return Reading(self.T, downsample=self.shrink, sensor_size=sensor, dt=self.dt, clips=self.clips)

    def _bin(self, events: np.ndarray) -> np.ndarray:
        return bin_frames(events, self.T, self.dt, side=self.side, shrink=self.shrink)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path = self.paths[index]
        events, label = self.read(path)
        events = in_order(events, path)
        try:
            if self.train:
                frames = self._bin(window(events, self.start(events), self.duration))
            else:
                frames = np.stack([self._bin(clip) for clip in cut_clips(events, self.duration, self.clips)])
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        tensor = torch.from_numpy(frames)
        return (tensor if self.transform is None else self.transform(tensor)), label
