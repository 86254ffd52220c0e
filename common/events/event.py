"""The one form every event recording takes in memory."""

from pathlib import Path

import numpy as np

from common.errors import UserError

EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
"""One event: time in microseconds, column, row, polarity (0 = OFF, 1 = ON)."""


def pack(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Structured events [N] of dtype `EVENT` from four arrays [N]; any non-zero polarity is ON."""
    events = np.empty(len(t), EVENT)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, np.asarray(p) != 0
    return events


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
