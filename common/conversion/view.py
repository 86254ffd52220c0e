"""A data set on disk is looked at in views: the same samples as events, as frames of T, ..."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import UserError

PARTS = ("train", "test")


class Entry(NamedTuple):
    """One sample of a data set on disk."""

    part: str
    """"train" or "test" ("val"); "" where nothing divides the samples yet."""
    category: str
    path: Path
    recording: str = ""
    """What it was cut from, the same word wherever it appears; "" if names do not tell recordings apart."""
    index: int | None = None
    """Its place, where samples have no files of their own."""


@dataclass(frozen=True)
class View:
    """The samples of a data set in one form, and how to read one."""

    stage: str
    """Its name, and that of its done-marker."""
    folder: Path
    entries: list[Entry]
    read: Callable[[Entry], np.ndarray]
    """Events `[N]`, counts `[T, 2, H, W]` or a picture `[H, W, 3]` of uint8; raises UserError for a damaged file."""
    uniform: bool = False
    """Whether all samples have one shape."""
    show: Callable[[Entry], np.ndarray] | None = None
    """The picture `[H, W, 3]` of a sample with what is annotated in it drawn over; None: what `read` returns."""

    def name(self, entry: Entry) -> str:
        """What to call a sample of this view."""
        where = entry.path.relative_to(self.folder).as_posix()
        return where if entry.index is None else f"{where}[{entry.index}]"


def read_inside(size: tuple[int, int], read: Callable[[Path], np.ndarray], entry: Entry) -> np.ndarray:
    """The events [N] that `read` finds in the file of `entry`, all of them in a sensor of `size` (H, W).

    Raises:
        UserError: damaged, or an event lies elsewhere.
    """
    events = read(entry.path)
    for axis, limit in zip("yx", size, strict=True):
        if len(events) and not 0 <= events[axis].min() <= events[axis].max() < limit:
            raise UserError(
                f"{entry.path}: {axis} runs from {events[axis].min()} to {events[axis].max()}, outside a sensor of "
                f"{limit}; delete it and convert it again"
            )
    return events
