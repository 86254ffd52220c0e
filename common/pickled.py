"""What pickles may hold beside tensors: plain data, made by this module in place of NumPy.

NumPy's `dtype` and `ndarray` believe what a pickle says of their memory, so that they can be made to read any address.
"""

import argparse
import datetime
import pathlib
import types

import numpy as np


class NumberType:
    """Stands for `numpy.dtype` of numbers and text."""

    def __init__(self, name: str, align: object = False, copy: object = False):
        kind = np.dtype(str(name))
        if kind.kind not in "biufcUSmMO" or kind.itemsize > 1 << 20:
            raise ValueError(f"a NumPy type of {kind} is no plain data")
        self.dtype = kind

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class Array(np.ndarray):
    """Stands for `numpy.ndarray`."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, content = state
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if not isinstance(kind, NumberType):
            raise ValueError("a NumPy array of no type")
        holder, size = (list, 1) if kind.dtype.kind == "O" else (bytes, kind.dtype.itemsize)
        if not isinstance(content, holder) or len(content) != count * size:
            raise ValueError("a NumPy array whose content is not of its shape and type")
        super().__setstate__((1, tuple(shape), kind.dtype, bool(by_columns), content))


def _bytes(content: object) -> bytes:
    if not isinstance(content, bytes):
        raise ValueError("NumPy numbers without bytes")
    return content


def array(*_: object) -> Array:
    """Stands for NumPy's `_reconstruct`: `__setstate__` fills what it returns."""
    return np.empty(0, np.int8).view(Array)


def scalar(kind: NumberType, content: bytes) -> np.generic:
    """Stands for NumPy's `scalar`."""
    if kind.dtype.kind == "O":
        raise ValueError("a NumPy scalar that is no number")
    return np.frombuffer(_bytes(content), kind.dtype, 1)[0]


def _dict(*_: object) -> dict:
    return {}


def _path(*parts: str) -> pathlib.PurePath:
    return pathlib.PurePosixPath(*parts)


def _windows_path(*parts: str) -> pathlib.PurePath:
    return pathlib.PureWindowsPath(*parts)


def _nothing(*_: object) -> None:
    raise ValueError("a type is called as a function")


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
ALLOWED = [
    argparse.Namespace, types.SimpleNamespace, NumberType, Array,
    datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone,
    (NumberType, "numpy.dtype"),
    (_nothing, "numpy.ndarray"),  # the type that `_reconstruct` is told
    *((array, f"{module}._reconstruct") for module in _NUMPY),
    *((scalar, f"{module}.scalar") for module in _NUMPY),
    (_dict, "collections.defaultdict"),
    *((kind, f"{module}.{kind.__name__}") for module in ("builtins", "__builtin__") for kind in
      (list, dict, int, float)),
    *((_path, f"pathlib.{name}") for name in ("PosixPath", "PurePosixPath", "Path", "PurePath")),
    *((_path, f"pathlib._local.{name}") for name in ("PosixPath", "PurePosixPath")),
    *((_windows_path, f"{module}.{name}") for module in ("pathlib", "pathlib._local") for name in
      ("WindowsPath", "PureWindowsPath")),
]  # fmt: skip
"""For `torch.serialization.safe_globals`."""
