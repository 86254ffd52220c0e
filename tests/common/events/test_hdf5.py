import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from common.events.event import EVENT
from common.events.hdf5 import read_hdf5, write_hdf5
from tests.common.events.conftest import events_within

ONE = np.array([(5, 1, 2, 1)], EVENT)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events_within((1 << 32) - 1, 255, 255), st.integers(0, 255))
def test_what_is_written_is_read(tmp_path, events, label):
    write_hdf5(tmp_path / "1.hdf5", events, label)
    read, read_label = read_hdf5(tmp_path / "1.hdf5")
    assert np.array_equal(read, events) and read_label == label


def test_the_file_is_laid_out_as_the_original_one(tmp_path):
    write_hdf5(tmp_path / "1.hdf5", ONE, 7)
    with h5py.File(tmp_path / "1.hdf5") as content:
        found = {name: (value.dtype.name, value.shape, value[()].tolist()) for name, value in content.items()}
    assert found == {
        "times": ("uint32", (1,), [5]),
        "addrs": ("uint8", (1, 3), [[1, 2, 1]]),
        "labels": ("uint8", (), 7),
    }


def test_times_above_31_bits_are_not_negative(tmp_path):
    late = np.array([((1 << 32) - 1, 0, 0, 0)], EVENT)
    write_hdf5(tmp_path / "1.hdf5", late, 0)
    assert read_hdf5(tmp_path / "1.hdf5")[0]["t"][0] == (1 << 32) - 1


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(UserError, match="x must lie in 0 to 255"):
        write_hdf5(tmp_path / "1.hdf5", np.array([(0, 256, 0, 0)], EVENT), 0)


@pytest.mark.parametrize("content", [b"", b"no HDF5"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "1.hdf5").write_bytes(content)
    with pytest.raises(UserError, match=r"1\.hdf5: expected an HDF5 file"):
        read_hdf5(tmp_path / "1.hdf5")


def test_a_file_without_labels_is_refused(tmp_path):
    with h5py.File(tmp_path / "1.hdf5", "w") as content:
        content["times"] = np.zeros(3)
    with pytest.raises(UserError, match="times, addrs and labels"):
        read_hdf5(tmp_path / "1.hdf5")
