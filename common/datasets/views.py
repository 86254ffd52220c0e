"""What the views of several data sets have in common; nothing is written."""

from pathlib import Path

import numpy as np

from common.errors import UserError

PARTS = ("train", "test")


def inside(size: tuple[int, int], path: Path, events: np.ndarray) -> np.ndarray:
    """The `events` [N] of the file `path`, which lie in a sensor of `size` (H, W).

    Raises:
        UserError: one of them does not.
    """
    for axis, limit in zip("yx", size, strict=True):
        if len(events) and not 0 <= events[axis].min() <= events[axis].max() < limit:
            raise UserError(
                f"{path}: {axis} runs from {events[axis].min()} to {events[axis].max()}, outside a sensor of {limit}; "
                "delete it and convert it again"
            )
    return events
