"""Decoding and counting events in C++, in one pass each.

Every function returns None where NumPy has to do the work: there is no extension, or the arguments are invalid and the
code in NumPy knows what is wrong with them.
"""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np

from common.compiled import extension_path, load_extension
from common.events.event import EVENT

LIBRARY = extension_path(__file__, "_events")


@cache
def library(path: Path) -> ctypes.CDLL | str:
    """The loaded extension, or why there is none and what to do."""
    loaded = load_extension(path)
    if isinstance(loaded, str):
        return loaded
    pointer, number, side, yes = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint32, ctypes.c_bool
    signatures = {
        "count_by_number": (yes, [pointer, number, number, side, side, pointer]),
        "count_by_time": (yes, [pointer, number, pointer, number, side, side, pointer]),
        "decode_aedat2": (yes, [pointer, number, yes, pointer]),
        "count_aedat3": (number, [pointer, number]),
        "decode_aedat3": (None, [pointer, number, pointer]),
        "decode_atis": (None, [pointer, number, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def frames_by_number(events: np.ndarray, T: int, height: int, width: int) -> np.ndarray | None:
    """`common.events.frames.frames_by_number`."""
    loaded = _loaded()
    if loaded is None or T < 1 or events.dtype != EVENT:
        return None
    events, counts = np.ascontiguousarray(events), np.empty((T, 2, height, width), np.int32)
    done = loaded.count_by_number(_at(events), len(events), T, height, width, _at(counts))
    return counts if done else None


def frames_by_time(events: np.ndarray, T: int, height: int, width: int) -> np.ndarray | None:
    """`common.events.frames.frames_by_time`."""
    loaded = _loaded()
    if loaded is None or T < 1 or events.dtype != EVENT:
        return None
    events, counts = np.ascontiguousarray(events), np.empty((T, 2, height, width), np.int32)
    first, last = events["t"][[0, -1]] if len(events) else (0, 0)
    starts = first + (last - first) // T * np.arange(T)
    done = loaded.count_by_time(_at(events), len(events), _at(starts), T, height, width, _at(counts))
    return counts if done else None


def decode_aedat2(content: bytes, start: int, *, turned: bool) -> np.ndarray | None:
    """Events from the pairs (address, time) that begin at byte `start`, `turned` as those of CIFAR10-DVS are."""
    loaded = _loaded()
    if loaded is None:
        return None
    words = np.frombuffer(content, np.uint8, offset=start)
    events = np.empty(len(words) // 8, EVENT)
    return events if loaded.decode_aedat2(_at(words), len(events), turned, _at(events)) else None


def decode_aedat3(content: bytes, start: int) -> np.ndarray | None:
    """Polarity events of the packets that begin at byte `start`."""
    loaded = _loaded()
    if loaded is None:
        return None
    packets = np.frombuffer(content, np.uint8, offset=start)
    count = loaded.count_aedat3(_at(packets), len(packets))
    if count < 0:
        return None
    events = np.empty(count, EVENT)
    loaded.decode_aedat3(_at(packets), len(packets), _at(events))
    return events


def decode_atis(content: bytes) -> np.ndarray | None:
    """Events of five bytes each."""
    loaded = _loaded()
    if loaded is None:
        return None
    words = np.frombuffer(content, np.uint8)
    events = np.empty(len(words) // 5, EVENT)
    loaded.decode_atis(_at(words), len(events), _at(events))
    return events


def _loaded() -> ctypes.CDLL | None:
    loaded = library(LIBRARY)
    return None if isinstance(loaded, str) else loaded


def _at(array: np.ndarray) -> int:
    return array.ctypes.data
