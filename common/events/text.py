"""Recordings as text (DVS128-Gait): one event per line, four whole numbers `t x y p`, t in microseconds, p 0 or 1."""

from pathlib import Path

import numpy as np

from common.errors import UserError
from common.events.event import load, pack
from common.files import atomic_path


def read_text(source: str | Path | bytes, *, name: str | None = None) -> np.ndarray:
    """Read a recording of `t x y p` lines.

    Args:
        source: a path or the bytes of a file.
        name: what error messages call the recording.

    Returns:
        events [N] of dtype `EVENT`.

    Raises:
        UserError: empty, or a line that is not four whole numbers with a polarity of 0 or 1.
    """
    content, name = load(source, name)
    lines = content.decode("utf-8-sig", "replace").splitlines()
    if not any(line.strip() for line in lines):
        raise UserError(f"{name}: expected lines of 't x y p', found an empty file")
    try:
        columns = np.loadtxt(lines, dtype=np.int64, ndmin=2, comments=None)
    except (ValueError, OverflowError, MemoryError) as error:
        reason = str(error).partition(";")[0].rstrip(".")
        raise UserError(f"{name}: expected lines of four whole numbers 't x y p': {reason}") from error
    if columns.shape[1] != 4 or not np.isin(columns[:, 3], (0, 1)).all():
        raise UserError(
            f"{name}: expected four whole numbers 't x y p' per line, p 0 or 1; found {columns.shape[1]} per line"
            + (f" and p from {columns[:, 3].min()} to {columns[:, 3].max()}" if columns.shape[1] == 4 else "")
        )
    return pack(*columns.T, name=name)


def write_text(path: str | Path, events: np.ndarray) -> None:
    """Write `events` [N] as lines of `t x y p`, atomically."""
    with atomic_path(path) as temporary:
        np.savetxt(temporary, np.stack([events[field].astype(np.int64) for field in "txyp"], axis=1), "%d")
