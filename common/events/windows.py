"""Cutting windows of a given duration out of a recording and counting them into bins, as MA-SNN (TPAMI 2023) does.

`frames[i, p, x, y]` is the number of events of polarity p (0 = OFF, 1 = ON) at that pixel in bin i: x comes before y,
other than in `common.events.frames`, and published weights rely on it. All times are in microseconds.
"""

import numpy as np
from torch import Tensor

from common.errors import UserError


def window(events: np.ndarray, start: int, duration: int) -> np.ndarray:
    """The events [N] with start <= t < start + duration."""
    t = events["t"]
    return events[(t >= start) & (t < start + duration)]


def bin_frames(events: np.ndarray, T: int, dt: int, *, side: int, shrink: int = 1) -> np.ndarray:
    """Count events into T bins: bin i holds those with t0 + i dt <= t < t0 + (i + 1) dt.

    t0 is the time of the first event. Later events are left out; without any event all bins are empty.

    Args:
        events: [N] of dtype `EVENT`, sorted by time.
        T: number of bins.
        dt: width of a bin.
        side: pixels of a row and of a column of the sensor.
        shrink: add up squares of so many pixels a side.

    Returns:
        float32 counts [T, 2, X, Y] with X = Y = side // shrink.

    Raises:
        UserError: T or dt below 1, a `shrink` that does not divide `side`, or an event outside the sensor.
    """
    if T < 1 or dt < 1 or shrink < 1 or side % shrink:
        raise UserError(
            f"expected T >= 1, dt >= 1 us and a down-sampling that divides {side}; got {T}, {dt} and {shrink}"
        )
    x, y = (events[axis].astype(np.int64) for axis in "xy")
    for axis, values in (("x", x), ("y", y)):
        if len(values) and (values.min() < 0 or values.max() >= side):
            raise UserError(
                f"{axis} runs from {values.min()} to {values.max()}, outside the sensor of {side} x {side} pixels"
            )
    t = events["t"].astype(np.int64)
    index = (t - t[:1]) // dt
    kept = (index >= 0) & (index < T)
    pixels = side // shrink
    cell = ((index * 2 + (events["p"] != 0)) * pixels + x // shrink) * pixels + y // shrink
    counts = np.bincount(cell[kept], minlength=T * 2 * pixels * pixels)
    return counts.reshape(T, 2, pixels, pixels).astype(np.float32)


def clip_starts(length: int, duration: int, clips: int) -> list[int]:
    """Where `clips` windows of `duration` begin that are spread over a recording that ends at `length`.

    They overlap by floor((n W - L) / n), or where the recording is longer leave gaps of floor((L - n W) / n); a window
    that would reach beyond L is moved back to L - W, which is negative in a recording shorter than the window.
    """
    slack = abs(clips * duration - length) // clips
    step = duration - slack if clips * duration > length else duration + slack
    return [min(j * step, length - duration) for j in range(clips)]


def cut_clips(events: np.ndarray, duration: int, clips: int) -> list[np.ndarray]:
    """The `clips` windows on which a recording is tested, their times counted from its first event.

    As in the original, events at the last time stamp are dropped first, and with them the end of the last window.
    """
    if not len(events):
        return [events] * clips
    kept = window(events, int(events["t"][0]), int(events["t"][-1]) - int(events["t"][0]))
    kept["t"] -= events["t"][0]
    length = int(kept["t"][-1]) if len(kept) else 0
    return [window(kept, start, duration) for start in clip_starts(length, duration, clips)]


def scaled(frames: Tensor, *, binary: bool, to_one: bool) -> Tensor:
    """Counts `[..., T, 2, X, Y]` as 0 or 1 if `binary`, and divided by the maximum of their window if `to_one`."""
    if binary:
        frames = (frames > 0).to(frames.dtype)
    if to_one:
        frames = frames / frames.amax(dim=(-4, -3, -2, -1), keepdim=True).clamp(min=1)
    return frames
