import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.datasets.utils import integrate_events_by_fixed_frames_number

from common.errors import UserError
from common.events.event import EVENT, pack
from common.events.frames import SPLITS, downsample, frames_by_number, frames_by_time
from tests.common.events.conftest import events_within

SENSORS = {"gesture": (128, 128), "cifar": (128, 128), "ncaltech": (180, 240)}


def from_fixture(published, prefix):
    return pack(*(published[f"{prefix}_{field}"] for field in "txyp"))


def at_times(*times):
    return np.array([(t, 0, 0, 1) for t in times], dtype=EVENT)


@pytest.mark.parametrize("prefix", SENSORS)
def test_frames_by_number_equal_the_original_ones(published, prefix):
    frames = frames_by_number(from_fixture(published, prefix), 10, *SENSORS[prefix])
    places = np.argwhere(frames)
    rows = np.column_stack([places, frames[tuple(places.T)]])
    np.testing.assert_array_equal(rows, published[f"{prefix}_frames_nonzero"])


@pytest.mark.parametrize("split_by", SPLITS)
def test_frames_of_a_tiny_sensor_equal_the_original_ones(published, split_by):
    frames = SPLITS[split_by](from_fixture(published, "tiny"), 10, 5, 4)
    np.testing.assert_array_equal(frames, published[f"tiny_frames_{split_by}"])


@pytest.mark.parametrize("split_by", SPLITS)
def test_frames_equal_spikingjelly(split_by):
    rng = np.random.default_rng(1)
    events = pack(np.sort(rng.integers(0, 10**6, 2003)), *(rng.integers(0, limit, 2003) for limit in (7, 6, 2)))
    peer = integrate_events_by_fixed_frames_number({key: events[key] for key in "txyp"}, split_by, 9, 6, 7)
    np.testing.assert_array_equal(SPLITS[split_by](events, 9, 6, 7), peer)


@given(events_within(1000, 6, 5), st.integers(1, 12), st.sampled_from(sorted(SPLITS)))
def test_every_event_is_counted_once(events, T, split_by):
    frames = SPLITS[split_by](np.sort(events, order="t"), T, 6, 7)
    expected = np.zeros((2, 6, 7), int)
    np.add.at(expected, (events["p"], events["y"], events["x"]), 1)
    np.testing.assert_array_equal(frames.sum(0), expected)


def test_the_last_frame_takes_the_remainder_by_number():
    assert frames_by_number(at_times(*range(11)), 3, 1, 1).sum((1, 2, 3)).tolist() == [3, 3, 5]


def test_windows_by_time_are_half_open_and_the_last_reaches_to_the_end():
    assert frames_by_time(at_times(0, 9, 10, 19, 20, 31), 3, 1, 1).sum((1, 2, 3)).tolist() == [2, 2, 2]


@pytest.mark.parametrize("split_by", SPLITS)
def test_fewer_events_than_frames_all_fall_into_the_last(split_by):
    assert SPLITS[split_by](at_times(5, 6), 4, 1, 1).sum((1, 2, 3)).tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize("split_by", SPLITS)
def test_an_empty_recording_gives_empty_frames(split_by):
    assert SPLITS[split_by](at_times(), 4, 2, 3).tolist() == np.zeros((4, 2, 2, 3), int).tolist()


def test_off_events_are_channel_0_and_on_events_channel_1():
    events = np.array([(0, 2, 1, 0), (1, 0, 0, 1), (2, 0, 0, 1)], dtype=EVENT)
    assert frames_by_number(events, 1, 2, 3).tolist() == [[[[0, 0, 0], [0, 0, 1]], [[2, 0, 0], [0, 0, 0]]]]


@pytest.mark.parametrize("split_by", SPLITS)
@pytest.mark.parametrize("T", [0, -1])
def test_no_frames_are_refused(split_by, T):
    with pytest.raises(UserError, match=f"T must be at least 1, got {T}"):
        SPLITS[split_by](at_times(1), T, 1, 1)


@pytest.mark.parametrize(("x", "y", "field"), [(4, 0, "x"), (0, 3, "y"), (-1, 0, "x")])
def test_events_outside_the_sensor_are_refused(x, y, field):
    with pytest.raises(UserError, match=f"{field} runs from .* outside the sensor of 3 rows x 4 columns"):
        frames_by_number(np.array([(0, x, y, 0)], dtype=EVENT), 1, 3, 4)


def test_time_that_goes_backwards_cannot_be_cut_by_time():
    with pytest.raises(UserError, match="time goes backwards after event 1; cut by number"):
        frames_by_time(at_times(1, 5, 3), 2, 1, 1)


def test_downsample_divides_coordinates_and_leaves_the_input_alone():
    events = np.array([(0, 5, 3, 1)], dtype=EVENT)
    assert (downsample(events, 2).tolist(), events.tolist()) == ([(0, 2, 1, 1)], [(0, 5, 3, 1)])
