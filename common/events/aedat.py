"""AEDAT 2.0 (DVS128, CIFAR10-DVS) and AEDAT 3.1 (DVS128 Gesture) recordings.

Format: https://docs.inivation.com/software/software-advanced-usage/file-formats/index.html
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.events import compiled
from common.events.event import EVENT, load, pack
from common.files import atomic_path

ORIENTATIONS = ("raw", "cifar10dvs")
"""`raw`: the address as the DVS128 sent it. `cifar10dvs`: x = 127 - y_raw, y = 127 - x_raw, p = 1 - p_raw."""

_AEDAT2 = b"#!AER-DAT2.0"
_AEDAT3 = b"#!AER-DAT3."
_AEDAT4 = b"#!AER-DAT4."
_END_HEADER = b"#!END-HEADER\r\n"
_WORD = np.dtype([("address", ">u4"), ("time", ">u4")])
_POLARITY = np.dtype([("data", "<u4"), ("time", "<u4")])
_PACKET = np.dtype(
    [("type", "<u2"), ("source", "<u2")]
    + [(field, "<u4") for field in ("size", "offset", "overflow", "capacity", "number", "valid")]
)
_POLARITY_TYPE = 1

_CLOCK = 1 << 32
"""Microseconds after which the clock of an AEDAT 2.0 recording starts again."""


def read_aedat2(source: str | Path | bytes, *, orientation: str, name: str | None = None) -> np.ndarray:
    """Read a DVS128 recording in AEDAT 2.0: lines that start with '#', then big-endian (address, time) pairs.

    x_raw = (a >> 1) & 127, y_raw = (a >> 8) & 127, p_raw = a & 1. Times are unsigned 32-bit microseconds: recordings
    that start near 3.15e9 us are common.

    Args:
        source: a path or the bytes of a file.
        orientation: one of `ORIENTATIONS`.
        name: what error messages call the recording.

    Returns:
        events [N] of dtype `EVENT`.

    Raises:
        UserError: not AEDAT 2.0, cut short, or addresses of a sensor other than the DVS128.
    """
    _check_orientation(orientation)
    content, name = load(source, name)
    _check_magic(content, _AEDAT2, name)
    start = _end_of_lines(content, name)
    rest = (len(content) - start) % _WORD.itemsize
    if rest:
        raise UserError(
            f"{name}: cut short at byte {len(content) - rest}: expected an event of {_WORD.itemsize} bytes, "
            f"found {rest}; fetch the file again"
        )
    events = compiled.decode_aedat2(content, start, turned=orientation == "cifar10dvs")
    if events is not None:
        return events
    words = np.frombuffer(content, _WORD, offset=start)
    address = words["address"].astype(np.uint32)
    foreign = np.flatnonzero(address >> 16)
    if len(foreign):
        raise UserError(
            f"{name}: byte {start + int(foreign[0]) * _WORD.itemsize} holds the address "
            f"0x{int(address[foreign[0]]):08x}, expected a 16-bit DVS128 address: this file is from another sensor"
        )
    x, y, p = (address >> 1) & 127, (address >> 8) & 127, address & 1
    if orientation == "cifar10dvs":
        x, y, p = 127 - y, 127 - x, 1 - p
    return pack(words["time"], x, y, p, name=name)


def read_aedat_as_matlab(path: Path) -> np.ndarray:
    """The events [N] that the published conversion to MATLAB makes of an AEDAT 2.0 recording.

    x = 127 - x_raw, y = y_raw, p = 1 - p_raw, times from 0 with turns of the 32-bit clock undone.

    Raises:
        UserError: not AEDAT 2.0, or cut short.
    """
    events = read_aedat2(path, orientation="raw")
    events["x"] = 127 - events["x"]
    events["p"] = 1 - events["p"]
    t = events["t"]
    turns = np.cumsum(np.diff(t, prepend=t[:1]) < -_CLOCK // 2)
    events["t"] = t - t[:1] + turns * _CLOCK
    return events


def encode_aedat2(events: np.ndarray, *, orientation: str) -> bytes:
    """AEDAT 2.0 bytes that `read_aedat2` with the same orientation turns back into `events` [N].

    Raises:
        UserError: a coordinate outside 128x128 or a time outside 32 bits.
    """
    _check_orientation(orientation)
    _check_range(events, side=128, time_bits=32, container="AEDAT 2.0")
    x, y, p = (events[field].astype(np.uint32) for field in "xyp")
    if orientation == "cifar10dvs":
        x, y, p = 127 - y, 127 - x, 1 - p
    words = np.empty(len(events), _WORD)
    words["address"] = x << 1 | y << 8 | p
    words["time"] = events["t"]
    return _AEDAT2 + b"\r\n# Timestamps tick: 1 us\r\n" + words.tobytes()


def write_aedat2(path: str | Path, events: np.ndarray, *, orientation: str) -> None:
    """Write `events` [N] as an AEDAT 2.0 file, atomically; see `encode_aedat2`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_aedat2(events, orientation=orientation))


def read_aedat3(source: str | Path | bytes, *, name: str | None = None) -> np.ndarray:
    """Read the polarity events (packet type 1) of an AEDAT 3.1 recording.

    x = (d >> 17) & 0x7fff, y = (d >> 2) & 0x7fff, p = (d >> 1) & 1, t = time | overflow << 31. The validity bit is
    ignored and all `capacity` events of a packet are read, as the readers behind the published results do.

    Args:
        source: a path or the bytes of a file.
        name: what error messages call the recording.

    Returns:
        events [N] of dtype `EVENT`, in file order.

    Raises:
        UserError: not AEDAT 3.1, or cut short.
    """
    content, name = load(source, name)
    _check_magic(content, _AEDAT3, name)
    header_end = content.find(_END_HEADER)
    if header_end < 0:
        raise UserError(f"{name}: the AEDAT 3.1 header has no '#!END-HEADER' line; fetch the file again")
    start = header_end + len(_END_HEADER)
    events = compiled.decode_aedat3(content, start)
    if events is not None:
        return events
    packets = _polarity_packets(content, start, name)
    events = np.empty(sum(count for _, count, _ in packets), EVENT)
    done = 0
    for offset, count, overflow in packets:
        raw = np.frombuffer(content, _POLARITY, count, offset)
        part = events[done : done + count]
        part["t"] = raw["time"].astype(np.int64) | overflow << 31
        part["x"] = (raw["data"] >> 17) & 0x7FFF
        part["y"] = (raw["data"] >> 2) & 0x7FFF
        part["p"] = (raw["data"] >> 1) & 1
        done += count
    return events


def encode_aedat3(events: np.ndarray, *, packet_events: int = 4096) -> bytes:
    """AEDAT 3.1 bytes that `read_aedat3` turns back into `events` [N].

    A packet never spans a timestamp overflow (2^31 us), because its header carries the overflow count.

    Raises:
        UserError: a coordinate outside 15 bits or a time outside 62 bits.
    """
    _check_range(events, side=1 << 15, time_bits=62, container="AEDAT 3.1")
    raw = np.empty(len(events), _POLARITY)
    x, y, p = (events[field].astype(np.uint32) for field in "xyp")
    raw["data"] = x << 17 | y << 2 | p << 1 | 1
    raw["time"] = events["t"] & 0x7FFFFFFF
    overflow = events["t"] >> 31
    turns = np.flatnonzero(np.diff(overflow)) + 1
    cuts = sorted({*range(0, len(events), packet_events), *turns.tolist(), len(events)})
    chunks = [_AEDAT3 + b"1\r\n#Format: RAW\r\n" + _END_HEADER]
    for start, end in pairwise(cuts):
        count = end - start
        fields = (_POLARITY_TYPE, 0, _POLARITY.itemsize, 4, int(overflow[start]), count, count, count)
        chunks += [np.array([fields], _PACKET).tobytes(), raw[start:end].tobytes()]
    return b"".join(chunks)


def write_aedat3(path: str | Path, events: np.ndarray, *, packet_events: int = 4096) -> None:
    """Write `events` [N] as an AEDAT 3.1 file, atomically; see `encode_aedat3`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_aedat3(events, packet_events=packet_events))


def _polarity_packets(content: bytes, offset: int, name: str) -> list[tuple[int, int, int]]:
    """(byte offset of the events, number of events, timestamp overflow) of each polarity packet."""
    packets = []
    while offset < len(content):
        if len(content) - offset < _PACKET.itemsize:
            raise UserError(
                f"{name}: cut short at byte {offset}: expected a packet header of {_PACKET.itemsize} bytes, "
                f"found {len(content) - offset}; fetch the file again"
            )
        header = np.frombuffer(content, _PACKET, 1, offset)[0]
        size, capacity = int(header["size"]), int(header["capacity"])
        data = offset + _PACKET.itemsize
        if data + size * capacity > len(content):
            raise UserError(
                f"{name}: cut short at byte {data}: expected {size * capacity} bytes of events, "
                f"found {len(content) - data}; fetch the file again"
            )
        if header["type"] == _POLARITY_TYPE:
            if size != _POLARITY.itemsize:
                raise UserError(f"{name}: byte {offset}: expected polarity events of 8 bytes, the header says {size}")
            packets.append((data, capacity, int(header["overflow"])))
        offset = data + size * capacity
    return packets


def _check_magic(content: bytes, magic: bytes, name: str) -> None:
    if content.startswith(magic):
        return
    if not content:
        raise UserError(f"{name}: is an empty file; fetch it again")
    if content.startswith(_AEDAT4):
        raise UserError(
            f"{name}: is AEDAT 4, expected {magic.decode()!r}: fetch the recordings as they were published, or export "
            "this one from DV as AEDAT 3.1 or 2.0"
        )
    raise UserError(
        f"{name}: byte 0: expected {magic.decode()!r}, found {content[: len(magic)]!r}: it is a file of another kind; "
        "fetch the published recording"
    )


def _end_of_lines(content: bytes, name: str) -> int:
    """Byte offset of the first line that does not start with '#'."""
    offset = 0
    while content.startswith(b"#", offset):
        newline = content.find(b"\n", offset)
        if newline < 0:
            raise UserError(f"{name}: cut short at byte {offset}: expected the end of a header line")
        offset = newline + 1
    return offset


def _check_orientation(orientation: str) -> None:
    if orientation not in ORIENTATIONS:
        raise UserError(f"orientation {orientation!r} is unknown; choose one of {', '.join(ORIENTATIONS)}")


def _check_range(events: np.ndarray, *, side: int, time_bits: int, container: str) -> None:
    for field, limit in (("x", side), ("y", side), ("t", 1 << time_bits)):
        values = events[field]
        if len(values) and (values.min() < 0 or values.max() >= limit):
            raise UserError(f"{container} holds {field} from 0 to {limit - 1}, got {values.min()} to {values.max()}")
