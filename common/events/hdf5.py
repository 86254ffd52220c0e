"""One labelled recording per HDF5 file: `times` uint32 [N] in us, `addrs` uint8 [N, 3] = (x, y, p), `labels` uint8."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError, reason_of
from common.events.event import pack
from common.files import atomic_path

if TYPE_CHECKING:
    import h5py

_SMALL, _MAX_RATIO = 1 << 26, 1100
"""Bytes that any file may hold, and the largest ratio of gzip."""


def read_hdf5(path: str | Path) -> tuple[np.ndarray, int]:
    """Read (events [N] of dtype `EVENT`, label).

    Raises:
        UserError: damaged, or without these three data sets.
    """
    import h5py

    try:
        with h5py.File(path, "r") as content:
            times, addresses, label = (plain_data(content, name) for name in ("times", "addrs", "labels"))
        label = int(label[()])
    except Exception as error:  # what damaged files raise has no common base
        raise UserError(
            f"{path}: expected an HDF5 file with times, addrs and labels ({reason_of(error)}); delete it and "
            "convert it again"
        ) from error
    if times.ndim != 1 or addresses.shape != (len(times), 3):
        found = f"times {list(times.shape)} and addrs {list(addresses.shape)}"
        raise UserError(f"{path}: expected times [N] and addrs [N, 3], found {found}; delete it and convert it again")
    return pack(times, *addresses.T, name=path), label


def plain_data(content: "h5py.File", name: str) -> np.ndarray:
    """The numbers `name` in an open HDF5 file, all of which are in this file.

    Raises:
        ValueError: they lie in another file, are no numbers, or are absurdly many for the size of the file.
        KeyError: there is no `name`.
    """
    import h5py

    if not isinstance(content.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link to elsewhere, which is not followed")
    data = content[name]
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds no numbers")
    if data.external or data.is_virtual:
        raise ValueError(f"{name} lies in other files, which are not read")
    if data.nbytes > max(_SMALL, _MAX_RATIO * Path(content.filename).stat().st_size):
        raise ValueError(f"{name} claims {data.nbytes} bytes")
    return np.asarray(data[()])


def write_hdf5(path: str | Path, events: np.ndarray, label: int) -> None:
    """Write `events` [N] and their label, atomically.

    Raises:
        UserError: times outside 32 bits, or coordinates or a label outside 8 bits.
    """
    import h5py

    for field, limit in (("t", 1 << 32), ("x", 256), ("y", 256)):
        values = events[field]
        if len(values) and (values.min() < 0 or values.max() >= limit):
            raise UserError(f"{path}: {field} must lie in 0 to {limit - 1}, got {values.min()} to {values.max()}")
    whole = io.BytesIO()  # HDF5 ends in several ways on a disk that is full
    with h5py.File(whole, "w") as content:
        content["times"] = events["t"].astype(np.uint32)
        content["addrs"] = np.stack([events[field].astype(np.uint8) for field in "xyp"], axis=1)
        content["labels"] = np.uint8(label)
    with atomic_path(path) as temporary:
        temporary.write_bytes(whole.getvalue())
