import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from scipy.io import savemat

from common.errors import UserError
from common.events.matlab import read_matlab, write_matlab
from tests.common.events.conftest import events_within

ROWS = np.array([[0, 9, 9, 3, 4, 1], [5, 9, 9, 126, 127, 0]])
EVENTS = [(0, 3, 4, 1), (5, 126, 127, 0)]


def save_hdf5(path, **variables):
    """A file as MATLAB's version 7.3 writes it: HDF5 behind 512 bytes of text, matrices transposed."""
    with h5py.File(path, "w", userblock_size=512) as content:
        content.create_group("#refs#")
        for name, matrix in variables.items():
            content[name] = matrix.T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(512))


versions = pytest.mark.parametrize(
    "save", [lambda path, **v: savemat(path, v), save_hdf5], ids=["version 5", "version 7.3"]
)


@versions
@pytest.mark.parametrize("dtype", [np.uint32, np.int32, np.float64])
def test_columns_of_out_are_t_unused_unused_x_y_p(tmp_path, save, dtype):
    save(tmp_path / "0.mat", other=np.ones(3), out=ROWS.astype(dtype))
    assert read_matlab(tmp_path / "0.mat").tolist() == EVENTS


@versions
@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_polarity_minus_one_is_off(tmp_path, save, dtype):
    rows = ROWS.astype(dtype)
    rows[1, 5] = -1
    save(tmp_path / "0.mat", out=rows)
    assert read_matlab(tmp_path / "0.mat").tolist() == EVENTS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events_within((1 << 32) - 1, 127, 127, min_size=1))
def test_what_is_written_is_read(tmp_path, events):
    write_matlab(tmp_path / "0.mat", events)
    assert np.array_equal(read_matlab(tmp_path / "0.mat"), events)


@versions
@pytest.mark.parametrize(
    "variables, problem",
    [
        ({"events": ROWS}, "expected a variable 'out', found events"),
        ({"out": ROWS[:, :4]}, r"to be \[events, 6\]"),
        ({"out": ROWS + 0.5}, "expected whole numbers"),
        ({"out": ROWS * np.nan}, "expected whole numbers"),
    ],
)
def test_another_content_is_refused(tmp_path, save, variables, problem):
    save(tmp_path / "0.mat", **variables)
    with pytest.raises(UserError, match=f"0.mat: .*{problem}"):
        read_matlab(tmp_path / "0.mat")


@versions
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7])
def test_a_truncated_file_is_refused(tmp_path, save, kept):
    path = tmp_path / "0.mat"
    save(path, out=np.arange(6000, dtype=np.uint32).reshape(-1, 6))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match=r"cannot be read as a \.mat file"):
        read_matlab(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"7\.mat: there is no such recording"):
        read_matlab(tmp_path / "7.mat")
