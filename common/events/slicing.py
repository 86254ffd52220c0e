"""Cutting a DVS128 Gesture recording into labelled samples by its `_labels.csv`."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.events.event import load

LABEL_HEADER = ["class", "startTime_usec", "endTime_usec"]
_DIGITS = 19
"""Of the largest int64."""


def read_labels(source: str | Path | bytes, *, num_classes: int = 11, name: str | None = None) -> np.ndarray:
    """Read a `_labels.csv`: rows of (class from 1, start in us, end in us) below the header `LABEL_HEADER`.

    Returns:
        int64 [rows, 3], the class counted from 1 as in the file.

    Raises:
        UserError: another header, a row that is not three whole numbers, or a class outside 1..num_classes.
    """
    content, name = load(source, name)
    try:
        text = io.StringIO(content.decode("utf-8-sig", "replace"))
        rows = [[cell.strip() for cell in row] for row in csv.reader(text)]
    except csv.Error as error:
        raise UserError(f"{name}: cannot be read as a table of labels ({error}); fetch it again") from error
    if not rows or rows[0] != LABEL_HEADER:
        found = ",".join(rows[0])[:80] if rows else "nothing"
        raise UserError(f"{name}: line 1: expected the header {','.join(LABEL_HEADER)!r}, found {found!r}")
    for line, row in enumerate(rows[1:], start=2):
        if row and not (len(row) == 3 and all(_is_number(cell) for cell in row) and 1 <= int(row[0]) <= num_classes):
            raise UserError(
                f"{name}: line {line}: expected a class from 1 to {num_classes}, a start and an end in microseconds, "
                f"found {','.join(row)[:80]!r}"
            )
    return np.array([row for row in rows[1:] if row], dtype=np.int64).reshape(-1, 3)


def _is_number(cell: str) -> bool:
    return cell.isascii() and cell.isdecimal() and len(cell) < _DIGITS


def cut_by_labels(events: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (label from 0, events with start <= t < end) for each row of `labels` [rows, 3]."""
    for category, start, end in labels.tolist():
        yield category - 1, events[(events["t"] >= start) & (events["t"] < end)]
