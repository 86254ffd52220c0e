import shutil

import numpy as np
import pytest
import torch

from common.conversion import cache
from common.datasets.cifar10_dvs import CIFAR10DVS
from common.datasets.dvs128_gesture import DVS128Gesture
from common.datasets.n_caltech101 import NCaltech101
from common.errors import UserError
from common.events.event import EVENT
from common.events.frames import frames_by_time
from common.training.describe import class_titles
from tests.common.conftest import LOADERS, NAMES, T, tree

FRAMES = "frames_number_3_split_by_number"


def write_frames(folder, *names, value=1.0):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / f"{name}.npz", frames=np.full((T, 2, 4, 6), value))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_float32_frames_and_a_label(roots, name):
    frames, label = LOADERS[name](roots[name], True, T)[0]
    assert (frames.dtype, tuple(frames.shape[:2]), type(label)) == (torch.float32, (T, 2), int)


@pytest.mark.parametrize(("name", "train", "test"), [("dvs128", 16, 4), ("cifar10dvs", 18, 2), ("ncaltech101", 18, 2)])
def test_sizes_of_both_parts(roots, name, train, test):
    cls = LOADERS[name]
    assert (len(cls(roots[name], True, T)), len(cls(roots[name], False, T))) == (train, test)


@pytest.mark.parametrize("name", NAMES)
def test_no_recording_is_in_both_parts(roots, name):
    parts = [LOADERS[name](roots[name], train, T) for train in (True, False)]
    train, test = ({"/".join(path.parts[-2:]) for path, _ in part.samples} for part in parts)
    assert train.isdisjoint(test)


@pytest.mark.parametrize(("name", "size"), [("dvs128", (128, 128)), ("ncaltech101", (180, 240))])
def test_sensor_and_classes_come_from_the_data(roots, name, size):
    data = LOADERS[name](roots[name], False, T)
    assert (data.sensor_size, data.num_classes, data.classes) == (size, 2, ["0", "1"])


def test_published_recordings_are_known_by_name_and_their_numbers_mean_something(roots, tmp_path):
    for folder, name in (("published", "user01_led_0"), ("own", "mine_0")):
        for part in ("train", "test"):
            write_frames(tmp_path / folder / FRAMES, *(f"{part}/{label}/{name}" for label in (0, 10, 2)))
    published, own = (DVS128Gesture(tmp_path / folder, False, T) for folder in ("published", "own"))
    assert published.is_published and class_titles(published) == ["hand clap", "other gestures", "left hand wave"]
    assert not own.is_published and class_titles(own) == ["0", "10", "2"]
    assert not NCaltech101(roots["ncaltech101"], False, T).is_published, "there are no background pictures"


def test_frames_keep_every_event(roots):
    path, _ = CIFAR10DVS(roots["cifar10dvs"], True, T).samples[0]
    events = cache.load_events(roots["cifar10dvs"] / "events_np" / path.relative_to(roots["cifar10dvs"] / FRAMES))
    assert cache.load_frames(path).sum() == len(events)


def test_transform_sees_the_frames(roots):
    data = CIFAR10DVS(roots["cifar10dvs"], True, T, transform=lambda frames: frames.sum((2, 3)))
    assert data[0][0].shape == (T, 2)


def test_frames_are_made_from_events_when_they_are_missing(roots, tmp_path):
    shutil.copytree(roots["dvs128"] / "events_np", tmp_path / "events_np")
    data = DVS128Gesture(tmp_path, False, 2, "time", downsample=4, workers=1)
    name = data.samples[0][0].relative_to(tmp_path / "frames_number_2_split_by_time_downsample_4")
    events = cache.load_events(tmp_path / "events_np" / name)
    expected = frames_by_time(events, 2, 128, 128).reshape(2, 2, 32, 4, 32, 4).sum((3, 5))
    np.testing.assert_array_equal(data[0][0], expected)


def test_a_second_look_changes_no_file(roots):
    before = tree(roots["ncaltech101"])
    NCaltech101(roots["ncaltech101"], True, T)
    assert tree(roots["ncaltech101"]) == before


def test_frames_alone_are_enough(tmp_path):
    write_frames(tmp_path / FRAMES, *(f"{part}/{label}/a" for part in ("train", "test") for label in range(2)))
    assert [label for _, label in DVS128Gesture(tmp_path, True, T)] == [0, 1]


def test_gesture_folders_sort_as_text(tmp_path):
    write_frames(tmp_path / FRAMES, *(f"{part}/{label}/a" for part in ("train", "test") for label in range(11)))
    assert DVS128Gesture(tmp_path, True, T).classes == ["0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9"]


def test_a_class_missing_from_one_part_does_not_shift_the_labels(tmp_path):
    write_frames(tmp_path / FRAMES, "train/0/a", "train/1/a", "train/2/a", "test/2/a")
    assert DVS128Gesture(tmp_path, False, T).targets == [2]


def test_folders_divided_by_the_authors_are_read(tmp_path):
    write_frames(tmp_path / "train_dataset" / FRAMES, "cat/a", "cat/b", "dog/a")
    write_frames(tmp_path / "test_dataset" / FRAMES, "cat/c", "dog/b")
    (tmp_path / "train_dataset" / "events_np").mkdir()
    assert (CIFAR10DVS(tmp_path, True, T).targets, CIFAR10DVS(tmp_path, False, T).targets) == ([0, 0, 1], [0, 1])


def test_frames_are_not_made_in_divided_folders(tmp_path):
    write_frames(tmp_path / "train_dataset" / FRAMES, "cat/a")
    with pytest.raises(UserError, match=f"expected frames in .*test_dataset/{FRAMES}; "):
        CIFAR10DVS(tmp_path, True, T)


def test_unfinished_temporary_files_are_passed_over(tmp_path):
    write_frames(tmp_path / FRAMES, *(f"cat/{number}" for number in range(10)), "cat/.half.1234")
    assert len(CIFAR10DVS(tmp_path, True, T)) == 9


@pytest.mark.parametrize("name", NAMES)
def test_missing_data_end_with_the_command_that_prepares_them(tmp_path, name):
    command = f"python tools/convert_dataset.py {name} -T 8 --split-by time --downsample 2 --source SOURCE --output"
    with pytest.raises(UserError, match=f"neither .*events_np nor .*frames_number_8.* {command} {tmp_path}$"):
        LOADERS[name](tmp_path, True, 8, "time", downsample=2)


def test_raw_recordings_end_with_the_command_that_converts_them(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.bin").touch()
    with pytest.raises(UserError, match=f"convert the raw recordings first: .* --source {tmp_path} --output"):
        NCaltech101(tmp_path, True, 8)


def test_an_empty_frames_folder_is_refused(tmp_path):
    (tmp_path / FRAMES).mkdir()
    with pytest.raises(UserError, match=f"no recordings in .*{FRAMES}"):
        NCaltech101(tmp_path, True, T)


def test_gestures_without_train_and_test_folders_are_refused(tmp_path):
    write_frames(tmp_path / FRAMES, "0/a", "1/a")
    with pytest.raises(UserError, match="expected the folders train and test"):
        DVS128Gesture(tmp_path, True, T)


def test_an_interrupted_conversion_is_not_used(tmp_path):
    cache.save_events(tmp_path / "events_np" / "cat" / "a.npz", np.zeros(3, EVENT))
    (tmp_path / "dataset.json").write_text('{"source": "x"}')
    with pytest.raises(UserError, match="was interrupted; run the same command again"):
        NCaltech101(tmp_path, True, T)
