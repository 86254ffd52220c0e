"""DVS128 Gesture of MA-SNN, from raw recordings to HDF5 files."""

import numpy as np
import pytest

from common.errors import UserError
from common.events.aedat import read_aedat3, write_aedat3
from common.events.hdf5 import read_hdf5
from common.events.slicing import LABEL_HEADER, read_labels
from common.tiny.events import write_tiny
from ma_snn.data.dvs_gesture_hdf5 import DVSGestureHDF5, convert, gestures
from tests.common.datasets.recordings import walk
from tests.parity.harness import FOLDER
from tests.parity.seeded import load_fixture


def user(folder, name, rows=12):
    """A raw gesture recording with `rows` labelled gestures of 100 us each, 10 events in each."""
    events = walk(rows * 100, rows * 10)
    events["t"] = np.repeat(np.arange(rows), 10) * 100 + np.tile(np.arange(10), rows)
    write_aedat3(folder / f"{name}.aedat", events)
    lines = [f"{row % 11 + 1},{row * 100},{row * 100 + 100}" for row in range(rows)]
    (folder / f"{name}_labels.csv").write_text("\n".join([",".join(LABEL_HEADER), *lines]) + "\n")


def test_a_root_without_gestures_names_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"put DvsGesture\.tar\.gz .* and run: python ma_snn/DVSGestures"):
        DVSGestureHDF5(tmp_path, True, T=4, dt=1000)


def test_gestures_are_numbered_across_recordings_and_divided_by_user(tmp_path):
    for name, rows in (("user01_led", 12), ("user02_led", 11), ("user23_led", 12), ("user24_led", 12)):
        user(tmp_path, name, rows)
    convert(tmp_path, tmp_path, workers=1)
    names = {part: [path.stem for path in DVSGestureHDF5.find(tmp_path, part)] for part in ("train", "test")}
    assert names == {
        "train": [f"DVS-Gesture-train{n}" for n in range(1, 37) if n != 24],
        "test": [f"DVS-Gesture-test{n}" for n in range(1, 13)],
    }


def test_a_13th_gesture_gives_way_to_the_next_recording(tmp_path):
    user(tmp_path, "user01_led", 13)
    user(tmp_path, "user02_led", 12)
    convert(tmp_path, tmp_path, workers=1)
    assert [read_hdf5(path)[1] for path in DVSGestureHDF5.find(tmp_path, "train")[11:14]] == [0, 0, 1]


def test_what_is_missing_from_the_published_gestures_is_told(tmp_path):
    user(tmp_path, "user01_led")
    assert convert(tmp_path, tmp_path, workers=1) == [
        "train: expected 98 recordings and 1175 gestures, found 1 and 12",
        "test: expected 24 recordings and 288 gestures, found 0 and 0",
    ]


def test_a_second_conversion_writes_only_what_is_missing(tmp_path):
    user(tmp_path, "user01_led")
    user(tmp_path, "user02_led")
    convert(tmp_path, tmp_path, workers=1)
    before = {path: path.stat().st_mtime_ns for path in DVSGestureHDF5.find(tmp_path, "train")}
    (tmp_path / "train/DVS-Gesture-train20.hdf5").unlink()
    convert(tmp_path, tmp_path, workers=1)
    after = {path: path.stat().st_mtime_ns for path in DVSGestureHDF5.find(tmp_path, "train")}
    assert sum(after[path] == before[path] for path in after) == 12


def test_the_archive_is_read(tmp_path):
    write_tiny("dvs128", tmp_path, classes=2, per_class=2)
    convert(tmp_path / "DvsGesture.tar.gz", tmp_path, workers=1)
    assert len(DVSGestureHDF5(tmp_path, True, T=4, dt=1000)) == 4


def test_gestures_equal_the_original_ones():
    _, expected = load_fixture(FOLDER / "ma_snn" / "data_gesture_aedat_s1.npz")
    recording = read_aedat3(expected["aedat_bytes"].tobytes())
    cut = gestures(recording, read_labels(expected["labels_csv"].tobytes()))
    assert [label for label, _ in cut] == expected["sample_labels"].tolist()
    assert [len(events) for _, events in cut] == expected["sample_lengths"].tolist()
    events = np.concatenate([events for _, events in cut])
    assert np.array_equal(np.stack([events[field] for field in "txyp"], axis=1), expected["samples"])


def test_a_recording_without_its_labels_is_named(tmp_path):
    user(tmp_path, "user01_led")
    (tmp_path / "user01_led_labels.csv").unlink()
    with pytest.raises(UserError, match=r"user01_led_labels\.csv"):
        convert(tmp_path, tmp_path)


def test_a_recording_that_ends_before_its_labels_is_named(tmp_path):
    user(tmp_path, "user01_led", 12)
    write_aedat3(tmp_path / "user01_led.aedat", walk(500))
    with pytest.raises(UserError, match=r"row 6, 7.*: no events between .*user01_led\.aedat"):
        convert(tmp_path, tmp_path, workers=1)
