"""Numeric matrices in MATLAB files of versions 4 and 5 to 7.

SciPy's reader trusts the sizes in a file and can end the process on a damaged one, so that it is not asked here.

Format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_OLD_TYPES = ("f8", "f4", "i4", "i2", "u2", "u1")
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x800
_HEADER = 128


def variables(content: bytes) -> Iterator[tuple[str, np.ndarray | None]]:
    """(name, matrix) of each variable in the bytes of a file; None for what is no real matrix of numbers.

    Raises:
        ValueError, struct.error, zlib.error: not such a file, damaged or cut short.
    """
    if 0 in content[:4]:
        yield from _version4(content)
        return
    if len(content) < _HEADER or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("no header of a MATLAB file")
    order = "<" if content[126:128] == b"IM" else ">"
    for kind, data in _elements(content, _HEADER, order):
        if kind == _COMPRESSED:
            ((kind, data),) = _elements(zlib.decompress(data), 0, order)
        if kind == _MATRIX:
            yield _matrix(data, order)


def _elements(content: bytes, offset: int, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, data) of the elements that fill `content` from `offset` on."""
    while offset < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, offset)
        start = offset + 8
        if kind >> 16:  # up to four bytes share the tag's eight
            kind, size, start = kind & 0xFFFF, kind >> 16, offset + 4
            end = offset + 8
            if size > 4:
                raise ValueError(f"an element of {size} bytes at byte {offset} where four fit")
        else:
            end = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(content):
            raise ValueError(f"cut short at byte {start}: expected {size} bytes, found {len(content) - start}")
        yield kind, content[start : start + size]
        offset = end


def _matrix(content: bytes, order: str) -> tuple[str, np.ndarray | None]:
    parts = _elements(content, 0, order)
    flags, shape, name = (next(parts, (0, b""))[1] for _ in range(3))
    (kind,) = struct.unpack_from(f"{order}I", flags)
    name = name.decode("latin-1")
    if kind & 0xFF not in _CLASSES or kind & _COMPLEX:
        return name, None
    sizes = np.frombuffer(shape, f"{order}i4").tolist()
    stored, data = next(parts, (0, b""))
    values = np.frombuffer(data, order + _TYPES[stored])
    if min(sizes, default=0) < 0 or len(values) != np.prod(sizes, dtype=object):
        raise ValueError(f"{name!r} has {len(values)} values, its shape is {sizes}")
    return name, values.astype(_CLASSES[kind & 0xFF]).reshape(sizes, order="F")


def _version4(content: bytes) -> Iterator[tuple[str, np.ndarray | None]]:
    offset = 0
    while offset < len(content):
        order = "<" if struct.unpack_from("<i", content, offset)[0] in range(5000) else ">"
        kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", content, offset)
        machine, zero, number, form = (kind // 10**power % 10 for power in (3, 2, 1, 0))
        if machine > 1 or zero or number >= len(_OLD_TYPES) or form > 2 or min(rows, columns, length) < 0:
            raise ValueError(f"no header of a variable at byte {offset}")
        start, count = offset + 20 + length, rows * columns * (2 if imaginary else 1)
        name = content[offset + 20 : start].rstrip(b"\0").decode("latin-1")
        values = np.frombuffer(content, order + _OLD_TYPES[number], count, start)
        yield name, None if form or imaginary else values.reshape(rows, columns, order="F")
        offset = start + values.nbytes
