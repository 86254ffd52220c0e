"""One labelled recording per HDF5 file: `times` uint32 [N] in us, `addrs` uint8 [N, 3] = (x, y, p), `labels` uint8."""

from pathlib import Path

import numpy as np

from common.errors import UserError
from common.events.event import pack
from common.files import atomic_path


def read_hdf5(path: str | Path) -> tuple[np.ndarray, int]:
    """Read (events [N] of dtype `EVENT`, label).

    Raises:
        UserError: damaged, or without these three data sets.
    """
    import h5py

    try:
        with h5py.File(path, "r") as content:
            times, addresses, label = (content[name][()] for name in ("times", "addrs", "labels"))
    except (OSError, KeyError) as error:
        raise UserError(
            f"{path}: expected an HDF5 file with times, addrs and labels ({error}); delete it and convert it again"
        ) from error
    if addresses.shape != (len(times), 3):
        raise UserError(f"{path}: expected addrs [{len(times)}, 3], found {list(addresses.shape)}; convert it again")
    return pack(times, *addresses.T, name=path), int(label)


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
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as content:
        content["times"] = events["t"].astype(np.uint32)
        content["addrs"] = np.stack([events[field].astype(np.uint8) for field in "xyp"], axis=1)
        content["labels"] = np.uint8(label)
