"""Counting events into frames.

`frames[j, c, y, x]` is the number of events of polarity c (0 = OFF, 1 = ON) at that pixel in part j of the recording;
counts are neither clipped nor normalised. The two ways of cutting a recording into T parts are those of spikingjelly's
`integrate_events_by_fixed_frames_number`, on which the published results stand.
"""

import numpy as np

from common.errors import UserError
from common.events import compiled


def frames_by_number(events: np.ndarray, T: int, height: int, width: int) -> np.ndarray:
    """Frames with equally many events: with d = N // T, frame j counts events [j d, (j + 1) d), the last one to N.

    With fewer events than frames d is 0: every frame but the last is empty and the last holds all events.

    Args:
        events: [N] of dtype `EVENT`.
        T: number of frames.
        height: rows of the sensor.
        width: columns of the sensor.

    Returns:
        int32 counts [T, 2, H, W].

    Raises:
        UserError: T < 1, or an event outside the sensor.
    """
    frames = compiled.frames_by_number(events, T, height, width)
    if frames is not None:
        return frames
    _check(events, T, height, width)
    starts = len(events) // T * np.arange(T)
    return _count(events, starts, height, width)


def frames_by_time(events: np.ndarray, T: int, height: int, width: int) -> np.ndarray:
    """Frames of equal duration: with dt = (t_last - t_first) // T, frame j counts t_first + [j dt, (j + 1) dt).

    The last frame also takes what the division leaves over. A recording shorter than T us has dt = 0: all its events
    fall into the last frame.

    Args:
        events: [N] of dtype `EVENT`, sorted by time.
        T: number of frames.
        height: rows of the sensor.
        width: columns of the sensor.

    Returns:
        int32 counts [T, 2, H, W].

    Raises:
        UserError: T < 1, an event outside the sensor, or time stamps that go backwards.
    """
    frames = compiled.frames_by_time(events, T, height, width)
    if frames is not None:
        return frames
    _check(events, T, height, width)
    t = events["t"]
    backwards = np.flatnonzero(np.diff(t) < 0)
    if len(backwards):
        raise UserError(f"time goes backwards after event {backwards[0]}; cut by number instead of by time")
    first, last = (t[0], t[-1]) if len(t) else (0, 0)
    starts = np.searchsorted(t, first + (last - first) // T * np.arange(T))
    return _count(events, starts, height, width)


SPLITS = {"number": frames_by_number, "time": frames_by_time}
"""The name of each way of cutting, as it appears in folder names."""


def downsample(events: np.ndarray, factor: int) -> np.ndarray:
    """A copy of `events` [N] with x // factor and y // factor; H x W becomes ceil(H / factor) x ceil(W / factor)."""
    smaller = events.copy()
    smaller["x"] //= factor
    smaller["y"] //= factor
    return smaller


def _check(events: np.ndarray, T: int, height: int, width: int) -> None:
    if T < 1:
        raise UserError(f"the number of frames T must be at least 1, got {T}")
    for field, limit in (("x", width), ("y", height)):
        values = events[field]
        if len(values) and (values.min() < 0 or values.max() >= limit):
            raise UserError(
                f"{field} runs from {values.min()} to {values.max()}, outside the sensor of "
                f"{height} rows x {width} columns"
            )


def _count(events: np.ndarray, starts: np.ndarray, height: int, width: int) -> np.ndarray:
    """Counts [T, 2, H, W]; frame j begins with event starts[j], the last one reaches to the end."""
    T = len(starts)
    frame = np.repeat(np.arange(T), np.diff(starts, append=len(events)))
    cell = ((frame * 2 + (events["p"] != 0)) * height + events["y"]) * width + events["x"]
    counts = np.bincount(cell, minlength=T * 2 * height * width).reshape(T, 2, height, width)
    return counts.astype(np.int32)
