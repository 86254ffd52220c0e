import struct

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from common.errors import UserError
from common.events.hdf5 import read_hdf5
from common.events.mat_file import variables
from common.events.matlab import read_matlab

TYPES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")


@pytest.mark.parametrize("settings", [{}, {"do_compression": True}, {"format": "4"}], ids=str)
def test_equals_what_scipy_wrote(tmp_path, settings):
    kinds = TYPES[:2] if "format" in settings else TYPES
    written = {f"v{kind}": (np.arange(6) % 5).astype(kind).reshape(2, 3) for kind in kinds}
    savemat(tmp_path / "a.mat", written | {"z": np.ones((1, 2), complex), "text": "hello"}, **settings)
    found = dict(variables((tmp_path / "a.mat").read_bytes()))
    for name, matrix in written.items():
        assert np.array_equal(found[name], matrix) and found[name].dtype == matrix.dtype
    assert found["z"] is None and found["text"] is None


def test_a_size_that_is_not_there_is_named(tmp_path):
    savemat(tmp_path / "a.mat", {"out": np.ones((4, 6))})
    content = bytearray((tmp_path / "a.mat").read_bytes())
    struct.pack_into("<I", content, 132, 1 << 31)
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.mat: cannot be read as a \.mat file \(cut short at byte 136"):
        read_matlab(tmp_path / "a.mat")


@pytest.mark.parametrize("way", ["external link", "external data", "virtual", "soft link", "huge", "group"])
def test_hdf5_reads_no_other_file_and_no_absurd_size(tmp_path, way):
    with h5py.File(tmp_path / "secret.hdf5", "w") as secret:
        secret["times"] = np.arange(3)
    with h5py.File(tmp_path / "a.hdf5", "w") as content:
        content["addrs"], content["labels"] = np.zeros((3, 3), "u1"), 0
        if way == "external link":
            content["times"] = h5py.ExternalLink("secret.hdf5", "times")
        elif way == "external data":
            (tmp_path / "raw").write_bytes(bytes(24))
            content.create_dataset("times", (3,), "i8", external=[(str(tmp_path / "raw"), 0, 24)])
        elif way == "virtual":
            layout = h5py.VirtualLayout((3,), "i8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.hdf5"), "times", (3,))
            content.create_virtual_dataset("times", layout)
        elif way == "soft link":
            content["times"] = h5py.SoftLink("/labels")
        elif way == "huge":
            content.create_dataset("times", (1 << 40,), "i8", chunks=(1 << 16,))
        else:
            content.create_group("times")
    with pytest.raises(UserError, match=r"a\.hdf5: expected an HDF5 file .*\(times (is a link|lies|claims|holds no)"):
        read_hdf5(tmp_path / "a.hdf5")
