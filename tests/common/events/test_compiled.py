"""The C++ events and the NumPy ones are the same, results and errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.events import compiled
from common.events.aedat import ORIENTATIONS, encode_aedat2, encode_aedat3, read_aedat2, read_aedat3
from common.events.atis import encode_atis, read_atis
from common.events.event import EVENT
from common.events.frames import SPLITS
from tests.common.events.conftest import events_within

HEADER = encode_aedat3(np.empty(0, EVENT))

needs_extension = pytest.mark.skipif(
    isinstance(compiled.library(compiled.LIBRARY), str), reason="the C++ extension of the events is not compiled"
)


def outcome(work, *arguments, **keywords):
    """Type and content of the result, or the message of the error."""
    try:
        result = work(*arguments, **keywords)
    except UserError as error:
        return str(error)
    return result.dtype, result.shape, result.tolist()


def assert_same(work, *arguments, **keywords):
    """`work` ends the same with the extension and without it."""
    with pytest.MonkeyPatch.context() as patch:
        fast = outcome(work, *arguments, **keywords)
        patch.setattr(compiled, "_loaded", lambda: None)
        assert fast == outcome(work, *arguments, **keywords)


def any_events(max_t):
    """Events whose coordinates need not lie on a sensor of 6 x 7 pixels, nor their times be sorted."""
    polarities = st.sampled_from([0, 1, 2, 255])
    one = st.tuples(st.integers(0, max_t), st.integers(-1, 7), st.integers(-1, 6), polarities)
    return st.lists(one, max_size=20).map(lambda rows: np.array(rows, EVENT))


@needs_extension
@given(events_within(1 << 40, 6, 5), st.integers(1, 70), st.sampled_from(sorted(SPLITS)))
def test_frames_are_the_same(events, T, split_by):
    assert_same(SPLITS[split_by], np.sort(events, order="t"), T, 6, 7)


@needs_extension
@given(any_events(3), st.integers(-1, 5), st.sampled_from(sorted(SPLITS)))
def test_refused_frames_are_refused_for_the_same_reason(events, T, split_by):
    assert_same(SPLITS[split_by], events, T, 6, 7)


@needs_extension
@pytest.mark.parametrize("split_by", SPLITS)
def test_frames_of_every_other_event_are_the_same(split_by):
    events = np.array([(t, t % 7, t % 6, t % 2) for t in range(50)], EVENT)
    assert_same(SPLITS[split_by], events[::2], 3, 6, 7)


@needs_extension
@pytest.mark.parametrize("split_by", SPLITS)
@pytest.mark.parametrize(("height", "width"), [(1, 2**15 - 1), (1, 2**15), (2**15, 1), (0, 0), (0, 3)])
def test_frames_of_the_largest_and_the_smallest_sensors_are_the_same(split_by, height, width):
    events = np.array([(t, t * (width - 1) // 30, t * (height - 1) // 30, t % 3) for t in range(31)], EVENT)
    assert_same(SPLITS[split_by], events, 2, height, width)


@needs_extension
@pytest.mark.parametrize("place", [(5, 0), (0, 5), (-1, 0), (0, -1), (2**15 - 1, 0), (0, -(2**15))])
@pytest.mark.parametrize("position", range(9))
def test_one_event_outside_the_sensor_is_found_wherever_it_stands(place, position):
    events = np.zeros(9, EVENT)
    events["x"][position], events["y"][position] = place
    assert_same(SPLITS["number"], events, 1, 5, 5)
    with pytest.raises(UserError, match="outside the sensor"):
        SPLITS["number"](events, 1, 5, 5)


@needs_extension
@given(events_within(2**32 - 1, 127, 127), st.sampled_from(ORIENTATIONS), st.integers(0, 9))
def test_aedat2_is_the_same_whole_or_cut(events, orientation, lost):
    content = encode_aedat2(events, orientation=orientation)
    assert_same(read_aedat2, content[: len(content) - lost], orientation=orientation)


@needs_extension
@given(st.binary(max_size=40))
def test_any_words_behind_an_aedat2_header_end_the_same(words):
    assert_same(read_aedat2, b"#!AER-DAT2.0\n" + words, orientation="raw")


@needs_extension
@given(events_within(2**34, 2**15 - 1, 2**15 - 1), st.integers(1, 7), st.integers(0, 40))
def test_aedat3_is_the_same_whole_or_cut(events, packet_events, lost):
    content = encode_aedat3(events, packet_events=packet_events)
    assert_same(read_aedat3, content[: max(len(HEADER), len(content) - lost)])


@needs_extension
@given(st.integers(0, 2), st.sampled_from([0, 1, 8, 9, 2**32 - 1]), st.sampled_from([0, 1, 2, 2**32 - 1]), st.binary())
def test_any_packet_behind_an_aedat3_header_ends_the_same(kind, size, capacity, data):
    fields = b"".join(number.to_bytes(4, "little") for number in (size, 0, 2**32 - 1, capacity, 0, 0))
    assert_same(read_aedat3, HEADER + kind.to_bytes(2, "little") + bytes(2) + fields + data)


@needs_extension
@given(events_within(2**23 - 1, 255, 239), st.integers(0, 6))
def test_atis_is_the_same_whole_or_cut(events, lost):
    content = encode_atis(events)
    assert_same(read_atis, content[: max(0, len(content) - lost)])


def test_without_the_extension_numpy_works_and_the_reason_is_known(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "LIBRARY", tmp_path / "absent.so")
    events = np.array([(7, 1, 2, 1)], EVENT)
    assert np.array_equal(read_atis(encode_atis(events)), events)
    assert "install g++ and run `pip install -e .` again" in compiled.library(compiled.LIBRARY)
