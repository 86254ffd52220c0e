"""`.npy` files of arrays of different lengths, which NumPy can only store as a pickle, read without running code."""

import pickle
from pathlib import Path

import numpy as np

from common.errors import UserError, reason_of
from common.pickled import NumberType, array, scalar


class _ArraysOnly(pickle.Unpickler):
    """Finds what the pickle of an array is made of, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        known = {
            ("multiarray", "_reconstruct"): array,
            ("multiarray", "scalar"): scalar,
            ("numpy", "ndarray"): None,  # the type that `_reconstruct` is told; not to be called
            ("numpy", "dtype"): NumberType,
        }
        key = (module.rpartition(".")[2], name)
        if module.partition(".")[0] != "numpy" or key not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array of numbers does")
        return known[key]


def read_object_array(path: Path) -> np.ndarray:
    """The array `[n]` of arrays, or the plain array, in an `.npy` file.

    Raises:
        UserError: damaged, or a pickle of anything but arrays.
    """
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read_header[version](stream)
            if dtype.hasobject:
                found = _ArraysOnly(stream).load()
                if not isinstance(found, np.ndarray) or found.shape != shape:
                    raise ValueError(f"expected an array {list(shape)}")
                return found
        return np.load(path, allow_pickle=False)
    except Exception as error:  # what damaged pickles raise has no common base
        raise UserError(
            f"{path}: not a readable array ({reason_of(error)}); make it again from the text recordings"
        ) from error
