"""Windows at random times to train, clips to test; shown on the gesture data set."""

import pytest
import torch
from torch.utils.data import DataLoader

from common.errors import UserError
from common.events.hdf5 import write_hdf5
from ma_snn.data.dvs_gesture_hdf5 import DVSGestureHDF5
from tests.common.datasets.recordings import walk


@pytest.fixture
def gesture(tmp_path):
    """A root with one recording of 1 s in each part."""
    for part in ("train", "test"):
        write_hdf5(tmp_path / part / f"DVS-Gesture-{part}1.hdf5", walk(1_000_000), 3)
    return tmp_path


def test_a_training_sample_is_one_window(gesture):
    frames, label = DVSGestureHDF5(gesture, True, T=4, dt=1000, shrink=4)[0]
    assert frames.shape == (4, 2, 32, 32) and frames.dtype == torch.float32 and label == 3


def test_a_test_sample_is_its_clips(gesture):
    frames, label = DVSGestureHDF5(gesture, False, T=4, dt=1000, clips=3)[0]
    assert frames.shape == (3, 4, 2, 128, 128) and label == 3


def test_a_window_longer_than_the_recording_begins_with_it(gesture):
    frames, _ = DVSGestureHDF5(gesture, True, T=4, dt=500_000)[0]
    assert frames.sum() == 400 and not frames[2:].any()


def test_random_starts_follow_the_seed_of_torch(gesture):
    data = DVSGestureHDF5(gesture, True, T=4, dt=1000)
    torch.manual_seed(1)
    first = data[0][0]
    torch.manual_seed(1)
    assert torch.equal(first, data[0][0])


def test_random_starts_differ_from_sample_to_sample(gesture):
    data = DVSGestureHDF5(gesture, True, T=4, dt=1000)
    torch.manual_seed(1)
    assert len({data.start(walk(1_000_000)) for _ in range(20)}) > 10


def test_without_random_start_the_first_window_is_taken(gesture):
    data = DVSGestureHDF5(gesture, True, T=4, dt=1000, random_start=False)
    assert data.start(walk(1_000_000)) == 0


def test_every_worker_draws_its_own_starts(gesture):
    for n in range(1, 9):
        write_hdf5(gesture / f"train/DVS-Gesture-train{n}.hdf5", walk(1_000_000, 40_000), 3)
    loader = DataLoader(DVSGestureHDF5(gesture, True, T=4, dt=10_000), batch_size=1, num_workers=2)
    torch.manual_seed(0)
    windows = [frames for frames, _ in loader]
    assert not any(torch.equal(a, b) for i, a in enumerate(windows) for b in windows[:i])


def test_the_transform_is_applied(gesture):
    frames, _ = DVSGestureHDF5(gesture, True, T=1, dt=1_000_000, transform=lambda x: (x > 0).float())[0]
    assert frames.max() == 1


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"T": 0}, "expected T >= 1"),
        ({"dt": 0}, "dt >= 1 us"),
        ({"shrink": 3}, "divides 128"),
        ({"clips": 0}, "test clips must be at least 1"),
    ],
)
def test_impossible_settings_are_refused_at_once(gesture, wrong, message):
    with pytest.raises(UserError, match=message):
        DVSGestureHDF5(gesture, True, **{"T": 4, "dt": 1000} | wrong)
