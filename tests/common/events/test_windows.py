"""Windows, bins and test clips of MA-SNN, bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.events.event import EVENT, pack
from common.events.windows import bin_frames, clip_starts, cut_clips, window
from tests.common.events.conftest import events_within
from tests.parity.harness import fixtures
from tests.parity.seeded import load_fixture

SIDE = 128


def recording(file):
    """Meta keyword arguments, events and expected arrays of a fixture."""
    meta, arrays = load_fixture(file)
    columns = arrays["out"][:, [0, 3, 4, 5]] if "out" in arrays else arrays["events"]
    return meta["kwargs"], pack(*columns.T), arrays


def frames(events, k):
    return bin_frames(events, k["T"], k["dt_us"], side=SIDE, shrink=k["ds"])


@pytest.mark.parametrize("file", fixtures("ma_snn", "data_*frames*"))
def test_train_window_at_its_fixed_start_equals_the_original(file):
    k, events, expected = recording(file)
    start = events["t"][0] if "gait" in file.stem else 0
    name = "train" if "gait" in file.stem else "train_fixed"
    assert np.array_equal(frames(window(events, start, k["T"] * k["dt_us"]), k), expected[name])


@pytest.mark.parametrize("file", fixtures("ma_snn", "data_gesture_frames*", "data_cifar10dvs_frames*"))
def test_train_window_at_a_random_start_equals_the_original(file):
    k, events, expected = recording(file)
    assert np.array_equal(frames(window(events, k["random_start"], k["T"] * k["dt_us"]), k), expected["train_random"])


@pytest.mark.parametrize("file", fixtures("ma_snn", "data_*frames*"))
def test_clips_equal_the_original(file):
    k, events, expected = recording(file)
    clips = cut_clips(events, k["T"] * k["dt_us"], k["clip"])
    assert [len(clip) for clip in clips] == expected["clip_lengths"].tolist()
    counts = np.stack([frames(clip, k) for clip in clips])
    assert np.array_equal(counts.reshape(expected["test"].shape), expected["test"])


def test_x_comes_before_y():
    counts = bin_frames(np.array([(0, 3, 1, 1)], EVENT), 1, 10, side=4)
    assert np.argwhere(counts).tolist() == [[0, 1, 3, 1]]


def test_bins_count_from_the_first_event():
    counts = bin_frames(np.array([(t, 0, 0, 0) for t in (7, 16, 17, 26, 27)], EVENT), 2, 10, side=1)
    assert counts[:, 0, 0, 0].tolist() == [2, 2]


def test_an_empty_window_has_empty_bins():
    assert not bin_frames(np.empty(0, EVENT), 3, 10, side=4).any()


@given(events_within(500, 7, 7), st.integers(1, 5), st.sampled_from([1, 2, 4]))
def test_bins_that_cover_the_recording_hold_every_event(events, T, shrink):
    events = events[np.argsort(events["t"])]
    counts = bin_frames(events, T, 501, side=8, shrink=shrink)
    assert counts.sum() == len(events)


@pytest.mark.parametrize("T, dt, shrink", [(0, 10, 1), (3, 0, 1), (3, 10, 3), (3, 10, 0)])
def test_settings_that_make_no_frames_are_refused(T, dt, shrink):
    with pytest.raises(UserError, match="T >= 1, dt >= 1 us and a down-sampling that divides 8"):
        bin_frames(np.empty(0, EVENT), T, dt, side=8, shrink=shrink)


def test_an_event_outside_the_sensor_is_refused():
    with pytest.raises(UserError, match="x runs from 8 to 8, outside the sensor of 8 x 8"):
        bin_frames(np.array([(0, 8, 0, 0)], EVENT), 1, 10, side=8)


@given(st.integers(0, 10**7), st.integers(1, 10**7), st.integers(1, 20))
def test_no_clip_ends_after_the_recording(length, duration, clips):
    starts = clip_starts(length, duration, clips)
    assert len(starts) == clips
    assert max(starts) + duration <= max(length, duration + starts[0])


def test_every_clip_of_a_recording_shorter_than_the_window_holds_all_but_its_last_two_times():
    events = np.array([(t, 0, 0, 0) for t in range(0, 100, 10)], EVENT)
    assert [clip["t"].tolist() for clip in cut_clips(events, 1000, 2)] == [list(range(0, 80, 10))] * 2


def test_events_at_the_last_time_stamp_are_not_tested():
    events = np.array([(t, 0, 0, 0) for t in (5, 8, 9, 12, 12)], EVENT)
    (clip,) = cut_clips(events, 5, 1)
    assert clip["t"].tolist() == [0, 3]


def test_a_recording_without_events_has_empty_clips():
    assert [len(clip) for clip in cut_clips(np.empty(0, EVENT), 10, 3)] == [0, 0, 0]
