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


def pickled(root, part, recordings, labels):
    """What the authors' code makes of the text files: an array of arrays, and an array of labels."""
    folder = root / "npy" / part
    folder.mkdir(parents=True)
    data = np.empty(len(recordings), object)
    data[:] = [np.stack([events[field].astype(np.int64) for field in "txyp"], 1) for events in recordings]
    np.save(folder / f"{part}_data.npy", data, allow_pickle=True)
    np.save(folder / f"{part}_target.npy", np.array(labels))


def test_arrays_of_the_authors_code_are_read(tmp_path):
    recordings = [walk(length) for length in (5_000, 3_000, 4_000)]
    for part in ("train", "test"):
        pickled(tmp_path, part, recordings, [20, 3, 3])
    data = DVSGait(tmp_path, False, T=4, dt=1000)
    found = [data.read(path) for path in data.paths]
    assert [label for _, label in found] == [3, 3, 20]
    for (events, _), original in zip(found, (recordings[1], recordings[2], recordings[0]), strict=True):
        assert np.array_equal(events, original)
    with pytest.raises(UserError, match=r"expected labels from 0 to 20, found .*21"):
        pickled(tmp_path / "other", "train", recordings, [21, 3, 3])
        DVSGait(tmp_path / "other", True, T=4, dt=1000)


class Harm:
    """Its pickle runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (exec, (f"open({str(self.path)!r}, 'w')",))


@pytest.mark.parametrize("part", ["data", "target"])
def test_a_pickle_of_anything_else_is_refused_unread(tmp_path, part):
    pickled(tmp_path, "train", [walk(5_000), walk(4_000)], [1, 2])
    harm = np.array([Harm(tmp_path / "harm"), 0], dtype=object)
    np.save(tmp_path / f"npy/train/train_{part}.npy", harm, allow_pickle=True)
    with pytest.raises(UserError, match=r"not a readable array.*builtins\.exec"):
        DVSGait(tmp_path, True, T=4, dt=1000)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("length", [0, 40, 1000])
def test_a_truncated_array_of_arrays_is_named(tmp_path, length):
    pickled(tmp_path, "train", [walk(5_000), walk(4_000)], [1, 2])
    path = tmp_path / "npy/train/train_data.npy"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=r"train_data\.npy: not a readable array"):
        DVSGait(tmp_path, True, T=4, dt=1000)
