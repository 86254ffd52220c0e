from functools import partial

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from common.conversion.cache import load_events
from common.errors import UserError
from common.events.aedat import read_aedat2, read_aedat3
from common.events.atis import encode_atis, read_atis
from common.events.event import EVENT, in_order, pack
from common.events.hdf5 import read_hdf5
from common.events.matlab import read_matlab
from common.events.slicing import read_labels
from common.events.text import read_text

GOOD = {"t": [10, 20], "x": [1, 2], "y": [3, 4], "p": [0, 1]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("x", 65541), ("x", 32768), ("y", -32769), ("y", np.nan), ("t", 1e300), ("t", np.inf), ("t", 2.0**63),
        ("t", np.uint64(2**64 - 1)), ("t", 0.5), ("p", np.nan),
    ],
)  # fmt: skip
def test_what_the_types_do_not_hold_is_refused_with_its_row(field, value):
    columns = {name: np.array(values) for name, values in GOOD.items()}
    columns[field] = np.array([columns[field][0], value], getattr(value, "dtype", None))
    with pytest.raises(UserError, match=rf"^a\.txt: event 2 has {field} = "):
        pack(**columns, name="a.txt")


def test_the_limits_of_the_types_are_held():
    ends = pack([-(2**63), 2**63 - 1], [-32768, 32767], [0.0, 32767.0], [0, 255])
    assert ends.tolist() == [(-(2**63), -32768, 0, 0), (2**63 - 1, 32767, 32767, 1)]


@pytest.mark.parametrize("changed", [{"x": ["a", "b"]}, {"x": [1]}, {"t": [[1], [2]]}, {"p": [0j, 1j]}])
def test_what_is_no_four_columns_of_numbers_is_refused(changed):
    with pytest.raises(UserError, match="expected numbers t, x, y and p, one each per event"):
        pack(**{**{name: np.array(values) for name, values in GOOD.items()}, **changed})


def test_every_reader_refuses_a_column_beyond_the_sensor_types(tmp_path):
    row = np.array([[7, 0, 0, 65541, 3, 1]], float)
    savemat(tmp_path / "5.mat", {"out": row})
    savemat(tmp_path / "4.mat", {"out": row}, format="4")
    with h5py.File(tmp_path / "7.mat", "w") as content:
        content["out"] = row.T
    with h5py.File(tmp_path / "a.hdf5", "w") as content:
        content["times"], content["addrs"], content["labels"] = [7], [[65541, 3, 1]], 0
    np.savez(tmp_path / "a.npz", t=[7], x=[65541], y=[3], p=[1])
    (tmp_path / "a.txt").write_text("7 65541 3 1\n")
    readers = dict.fromkeys(("5.mat", "4.mat", "7.mat"), read_matlab)
    readers |= {"a.hdf5": read_hdf5, "a.npz": load_events, "a.txt": read_text}
    for name, read in readers.items():
        with pytest.raises(UserError, match=rf"{name}: event 1 has x = 65541"):
            read(tmp_path / name)


def test_a_clock_that_steps_back_is_sorted_and_named():
    events = np.array([(5, 0, 0, 0), (9, 1, 0, 0), (7, 2, 0, 0)], EVENT)
    with pytest.warns(UserWarning, match=r"a\.npy: the clock steps back at event 3, from 9 to 7 us"):
        assert in_order(events, "a.npy")["t"].tolist() == [5, 7, 9]
    assert in_order(events[:2], "a.npy").base is events


@pytest.mark.parametrize("backend", ["C++", "NumPy"])
def test_overflow_marks_of_the_atis_clock_are_no_pixels(backend, monkeypatch):
    if backend == "NumPy":
        monkeypatch.setattr("common.events.compiled._loaded", lambda: None)
    content = bytearray(encode_atis(np.array([(8000, 1, 1, 1), (0, 0, 0, 0), (10, 2, 2, 0), (1, 0, 0, 0)], EVENT)))
    content[6] = content[16] = 240  # the second and the fourth event
    assert read_atis(bytes(content) + encode_atis(np.array([(5, 3, 3, 1)], EVENT))).tolist() == [
        (8000, 1, 1, 1), (10 + 8192, 2, 2, 0), (5 + 2 * 8192, 3, 3, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"class,startTime_usec,endTime_usec\n1,1,99999999999999999999\n", "line 2: expected a class from 1 to 11"),
        ("class,startTime_usec,endTime_usec\n1,1,٣\n".encode(), "line 2: expected a class"),
        (b'class,startTime_usec,endTime_usec\n"' + b"1" * 200_000, "cannot be read as a table|expected a class"),
    ],
)
def test_labels_that_are_no_numbers_are_named(content, problem):
    with pytest.raises(UserError, match=rf"^a\.csv: ({problem})"):
        read_labels(content, name="a.csv")


def test_a_byte_order_mark_and_line_ends_of_windows_are_passed_over():
    assert read_text(b"\xef\xbb\xbf10 1 1 0\r\n20 1 1 1\r\n")["t"].tolist() == [10, 20]
    assert read_labels(b"\xef\xbb\xbfclass,startTime_usec,endTime_usec\r\n1,2,3\r\n").tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("read", [partial(read_aedat2, orientation="raw"), read_aedat3])
def test_another_release_and_an_empty_file_are_named(read):
    with pytest.raises(UserError, match=r"is AEDAT 4, .* export this one from DV"):
        read(b"#!AER-DAT4.0\r\n", name="a.aedat")
    with pytest.raises(UserError, match=r"a\.aedat: is an empty file"):
        read(b"", name="a.aedat")
