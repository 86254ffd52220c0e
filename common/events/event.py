"""The one form every event recording takes in memory."""

import warnings
from pathlib import Path

import numpy as np

from common.errors import UserError

EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
"""One event: time in microseconds, column, row, polarity (0 = OFF, 1 = ON)."""


def pack(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray, *, name: str | Path = "events") -> np.ndarray:
    """Structured events [N] of dtype `EVENT` from four arrays [N]; any non-zero polarity is ON.

    Args:
        t: times in microseconds.
        x: columns.
        y: rows.
        p: polarities.
        name: what error messages call the recording.

    Raises:
        UserError: no four arrays [N] of numbers, or a value that the types of `EVENT` do not hold; the message has its
            row, counted from 1.
    """
    columns = {field: np.asarray(values) for field, values in zip("txyp", (t, x, y, p), strict=True)}
    shapes = {values.shape if values.dtype.kind in "biuf" else None for values in columns.values()}
    if len(shapes) > 1 or None in shapes or columns["t"].ndim != 1:
        found = ", ".join(f"{field} {list(values.shape)} of {values.dtype}" for field, values in columns.items())
        raise UserError(f"{name}: expected numbers t, x, y and p, one each per event, found {found}; fetch it again")
    events = np.empty(len(columns["t"]), EVENT)
    for field, values in columns.items():
        limits = np.iinfo(np.int64 if field == "p" else EVENT[field])
        wrong = _outside(values, limits)
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                f"{name}: event {row + 1} has {field} = {values[row]}, expected whole numbers from {limits.min} to "
                f"{limits.max}; the recording is damaged or of another kind"
            )
        events[field] = values != 0 if field == "p" else values
    return events


def _outside(values: np.ndarray, limits: np.iinfo) -> np.ndarray:
    """Where `values` [N] are no whole numbers within `limits`."""
    if values.dtype.kind == "f":  # the largest int64 is no float, the number after it is one
        inside = (values >= float(limits.min)) & (values < float(limits.max) + (limits.bits < 64))
        return ~inside | (values != np.trunc(values))
    return (values < limits.min) | (values > limits.max)


def first_step_back(events: np.ndarray) -> int | None:
    """The first event of `events` [N] that is earlier than the one before it, counted from 0; None in order of time."""
    backwards = np.flatnonzero(events["t"][1:] < events["t"][:-1])
    return int(backwards[0]) + 1 if len(backwards) else None


def in_order(events: np.ndarray, name: str | Path) -> np.ndarray:
    """`events` [N] in order of time: themselves, or where the clock steps back sorted, with a warning that says so."""
    step = first_step_back(events)
    if step is None:
        return events
    before, after = events["t"][step - 1 : step + 1]
    warnings.warn(
        f"{name}: the clock steps back at event {step + 1}, from {before} to {after} us; its events are sorted by time",
        stacklevel=2,
    )
    return events[np.argsort(events["t"], kind="stable")]


def load(source: str | Path | bytes, name: str | None) -> tuple[bytes, str]:
    """The bytes of a recording and the name that error messages use for it.

    Args:
        source: a path, or the content itself.
        name: what to call it; by default the path, or "<bytes>".

    Raises:
        UserError: the file cannot be read.
    """
    if isinstance(source, bytes):
        return source, name or "<bytes>"
    try:
        return Path(source).read_bytes(), name or str(source)
    except OSError as error:
        raise UserError(f"{source}: cannot read this recording: {error.strerror}") from error
