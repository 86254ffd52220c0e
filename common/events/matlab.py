"""MATLAB files of CIFAR10-DVS: a matrix `out` with the columns t (us), unused, unused, x, y, polarity.

MATLAB made it from AEDAT 2.0 with x = 127 - x_raw, y = y_raw, and times from 0. Files of version 7.3 are HDF5 and hold
the matrix transposed.
"""

from pathlib import Path

import numpy as np

from common.errors import UserError, reason_of
from common.events.event import pack
from common.events.hdf5 import plain_data
from common.events.mat_file import variables
from common.files import atomic_path

VARIABLE = "out"
_COLUMNS = 6


def read_matlab(path: str | Path) -> np.ndarray:
    """Read the events in the variable `out` of a `.mat` file.

    Polarities above 0 are ON, 0 and below OFF, so that files with -1 for OFF (int32, float) mean the same as those in
    which MATLAB made it 0 (uint32).

    Returns:
        events [N] of dtype `EVENT`.

    Raises:
        UserError: not a readable `.mat` file, no `out` in it, or an `out` that is not six columns of whole numbers.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such recording")
    try:
        names, matrix = _read_hdf5(path) if h5py.is_hdf5(path) else _read_version5(path)
    except Exception as error:  # what damaged files raise has no common base
        raise UserError(f"{path}: cannot be read as a .mat file ({reason_of(error)}); fetch it again") from error
    if matrix is None:
        found = ", ".join(names) or "nothing"
        raise UserError(f"{path}: expected a variable {VARIABLE!r}, found {found}; convert the .aedat with dat2mat.m")
    if matrix.ndim != 2 or matrix.shape[1] != _COLUMNS or matrix.dtype.kind not in "iuf":
        raise UserError(
            f"{path}: expected {VARIABLE!r} to be [events, {_COLUMNS}] numbers (t, -, -, x, y, polarity), "
            f"found {list(matrix.shape)} of {matrix.dtype}"
        )
    events = pack(*matrix[:, [0, 3, 4, 5]].T, name=path)
    events["p"] = matrix[:, 5] > 0
    return events


def write_matlab(path: str | Path, events: np.ndarray) -> None:
    """Write `events` [N] as `out` in a `.mat` file of version 5, atomically, in uint32 as dat2mat.m does."""
    from scipy.io import savemat

    matrix = np.zeros((len(events), _COLUMNS), np.uint32)
    for column, field in zip((0, 3, 4, 5), "txyp", strict=True):
        matrix[:, column] = events[field]
    with atomic_path(path) as temporary:
        savemat(temporary, {VARIABLE: matrix}, do_compression=True)


def _read_version5(path: Path) -> tuple[list[str], np.ndarray | None]:
    """Names of the variables, and `out` if it is among them."""
    found = dict(variables(path.read_bytes()))
    if VARIABLE in found and found[VARIABLE] is None:
        raise ValueError(f"{VARIABLE!r} is no matrix of real numbers")
    return list(found), found.get(VARIABLE)


def _read_hdf5(path: Path) -> tuple[list[str], np.ndarray | None]:
    import h5py

    with h5py.File(path, "r") as content:
        names = [name for name in content if not name.startswith("#")]
        return names, plain_data(content, VARIABLE).T if VARIABLE in names else None
