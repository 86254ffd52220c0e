"""ATIS recordings (N-Caltech101, N-MNIST): five bytes per event and nothing else.

Byte 0 is x, byte 1 is y, the top bit of byte 2 the polarity, the other 23 bits the time in microseconds (Orchard et
al. 2015, https://doi.org/10.3389/fnins.2015.00437).
"""

from pathlib import Path

import numpy as np

from common.errors import UserError
from common.events import compiled
from common.events.event import load, pack
from common.files import atomic_path

_BYTES = 5
_MAX_TIME = (1 << 23) - 1
_MARK, _TURN = 240, 1 << 13
"""A row below the sensor's last, with which the camera's recorder marks an overflow of its clock, and the microseconds
that every later time then lacks (`Read_Ndataset.m`, which its authors publish with the data)."""


def read_atis(source: str | Path | bytes, *, name: str | None = None) -> np.ndarray:
    """Read an ATIS `.bin` recording. Events of row 240 are no pixels: each adds 2^13 us to all times after it.

    Args:
        source: a path or the bytes of a file.
        name: what error messages call the recording.

    Returns:
        events [N] of dtype `EVENT`.

    Raises:
        UserError: empty, cut short, or a file of another format.
    """
    content, name = load(source, name)
    if not content or content.startswith(b"#!AER-DAT"):
        found = "an AEDAT file" if content else "an empty file"
        raise UserError(f"{name}: byte 0: expected ATIS events of {_BYTES} bytes, found {found}")
    rest = len(content) % _BYTES
    if rest:
        raise UserError(
            f"{name}: cut short at byte {len(content) - rest}: expected an ATIS event of {_BYTES} bytes, "
            f"found {rest}; fetch the file again"
        )
    events = compiled.decode_atis(content)
    if events is None:
        raw = np.frombuffer(content, np.uint8).reshape(-1, _BYTES)
        high, middle, low = raw[:, 2:].T.astype(np.int64)
        events = pack((high & 127) << 16 | middle << 8 | low, raw[:, 0], raw[:, 1], high >> 7)
    return _undo_overflows(events)


def _undo_overflows(events: np.ndarray) -> np.ndarray:
    """`events` [N] without the marks of the clock's overflows, each of which sets on what comes after it."""
    mark = events["y"] == _MARK
    if not mark.any():
        return events
    events["t"] += np.cumsum(mark) * _TURN
    return events[~mark]


def encode_atis(events: np.ndarray) -> bytes:
    """ATIS bytes that `read_atis` turns back into `events` [N].

    Raises:
        UserError: a column above 255, a row above 239 or a time above 2^23 - 1 us.
    """
    for field, limit in (("x", 255), ("y", _MARK - 1), ("t", _MAX_TIME)):
        values = events[field]
        if len(values) and (values.min() < 0 or values.max() > limit):
            raise UserError(f"ATIS holds {field} from 0 to {limit}, got {values.min()} to {values.max()}")
    t = events["t"]
    columns = (events["x"], events["y"], t >> 16 | events["p"].astype(np.int64) << 7, t >> 8 & 255, t & 255)
    return np.stack([column.astype(np.uint8) for column in columns], axis=1).tobytes()


def write_atis(path: str | Path, events: np.ndarray) -> None:
    """Write `events` [N] as an ATIS `.bin` file, atomically; see `encode_atis`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_atis(events))
