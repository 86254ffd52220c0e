"""Frames of a fixed duration, as SDT V3's gait and gesture loaders count them."""

import numpy as np

from common.errors import UserError


def frames_of_window(
    events: np.ndarray, T: int, duration: int = 15_000, *, factor: int = 4, size: int = 128
) -> np.ndarray:
    """Event counts `frames[j, c, x, y]`, column before row: part j holds t0 + [j duration, (j + 1) duration).

    t0 is the time of the first event; later events than the last part's are left out. Counts are neither clipped nor
    normalised.

    Args:
        events: [N] of dtype `common.events.event.EVENT`, sorted by time.
        T: number of parts.
        duration: of one part, in microseconds.
        factor: x // factor and y // factor are counted.
        size: columns and rows of the sensor.

    Returns:
        int64 [T, 2, size // factor, size // factor].

    Raises:
        UserError: no events, or one outside the sensor.
    """
    if not len(events):
        raise UserError("this window holds no events; choose another start")
    side = size // factor
    part = (events["t"] - events["t"][0]) // duration
    inside = events[part < T]
    x, y = inside["x"] // factor, inside["y"] // factor
    if min(x.min(), y.min()) < 0 or max(x.max(), y.max()) >= side:
        raise UserError(f"events lie outside the sensor of {size} x {size} pixels; check the columns' order")
    cell = ((part[part < T] * 2 + inside["p"]) * side + x) * side + y
    return np.bincount(cell, minlength=T * 2 * side * side).reshape(T, 2, side, side)
