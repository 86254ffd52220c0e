"""DVS128-Gait, from text to arrays."""

import shutil

import numpy as np
import pytest

from common.datasets.dvs_gait import DVSGait
from common.errors import UserError
from common.events.event import EVENT
from common.events.text import write_text
from tests.common.datasets.recordings import walk


@pytest.fixture
def gait(tmp_path):
    """Text recordings of two people in each part; the first event comes at 7 us."""
    for part in ("train", "test"):
        for label in (10, 2):
            for name in ("b.txt", "a.txt"):
                events = walk(5_000)
                events["t"] += 7
                write_text(tmp_path / part / str(label) / name, events)
    return tmp_path


def test_gait_text_becomes_arrays(gait):
    DVSGait(gait, True, T=4, dt=1000)
    assert np.load(gait / "npy/test/10/a.txt.npy", allow_pickle=False).dtype == EVENT


def test_gait_recordings_are_ordered_by_label_and_name(gait):
    data = DVSGait(gait, True, T=4, dt=1000)
    assert [f"{path.parent.name}/{path.name}" for path in data.paths] == [
        f"{label}/{name}.txt.npy" for label in (2, 10) for name in "ab"
    ]


def test_converted_gait_data_need_no_text(gait):
    DVSGait(gait, True, T=4, dt=1000)
    shutil.rmtree(gait / "train")
    assert len(DVSGait(gait, True, T=4, dt=1000)) == 4


def test_the_first_window_of_a_walk_begins_with_its_first_event(gait):
    data = DVSGait(gait, True, T=4, dt=1000, random_start=False)
    events, _ = data.read(data.paths[0])
    assert data.start(events) == 7


def test_a_label_that_is_no_person_is_refused(gait):
    (gait / "train/2").rename(gait / "train/21")
    with pytest.raises(UserError, match="21: expected a folder named after a label from 0 to 20"):
        DVSGait(gait, True, T=4, dt=1000)


def test_arrays_that_hold_python_objects_are_refused(gait):
    DVSGait(gait, True, T=4, dt=1000)
    np.save(gait / "npy/train/2/a.txt.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="not a readable array"):
        DVSGait(gait, True, T=4, dt=1000)[0]


def test_a_root_without_walks_names_the_layout(tmp_path):
    with pytest.raises(UserError, match="neither converted recordings in npy/train/<label> nor text files"):
        DVSGait(tmp_path, True, T=4, dt=1000)
