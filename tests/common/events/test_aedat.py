import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.datasets.utils import load_aedat_v3

from common.errors import UserError
from common.events.aedat import (
    ORIENTATIONS,
    encode_aedat2,
    encode_aedat3,
    read_aedat2,
    read_aedat3,
    write_aedat2,
    write_aedat3,
)
from common.events.event import EVENT
from tests.common.events.conftest import assert_published, events_within, real_file

ONE = np.array([(7, 1, 2, 1)], dtype=EVENT)
AEDAT2_HEADER = b"#!AER-DAT2.0\r\n"


def test_aedat2_equals_the_original_reader_of_cifar10_dvs(published):
    assert_published(read_aedat2(published["cifar_file"].tobytes(), orientation="cifar10dvs"), published, "cifar")


def test_aedat3_equals_the_original_reader_of_dvs128_gesture(published):
    assert_published(read_aedat3(published["gesture_file"].tobytes()), published, "gesture")


@given(events_within(2**32 - 1, 127, 127), st.sampled_from(ORIENTATIONS))
def test_aedat2_round_trip(events, orientation):
    assert np.array_equal(read_aedat2(encode_aedat2(events, orientation=orientation), orientation=orientation), events)


@given(events_within(2**34, 2**15 - 1, 2**15 - 1), st.integers(1, 7))
def test_aedat3_round_trip_over_packets_and_timestamp_overflow(events, packet_events):
    assert np.array_equal(read_aedat3(encode_aedat3(events, packet_events=packet_events)), events)


def test_written_files_are_read_back(tmp_path):
    write_aedat2(tmp_path / "two.aedat", ONE, orientation="raw")
    write_aedat3(tmp_path / "three.aedat", ONE)
    assert read_aedat2(tmp_path / "two.aedat", orientation="raw") == read_aedat3(tmp_path / "three.aedat") == ONE


@pytest.mark.parametrize(("orientation", "x", "y", "p"), [("raw", 3, 5, 1), ("cifar10dvs", 122, 124, 0)])
def test_aedat2_orientation(orientation, x, y, p):
    address = 3 << 1 | 5 << 8 | 1
    content = AEDAT2_HEADER + address.to_bytes(4, "big") + (9).to_bytes(4, "big")
    assert read_aedat2(content, orientation=orientation).tolist() == [(9, x, y, p)]


def test_aedat2_times_are_unsigned():
    late = np.array([(3_150_000_000, 0, 0, 0)], dtype=EVENT)
    assert read_aedat2(encode_aedat2(late, orientation="raw"), orientation="raw")["t"] == 3_150_000_000


def test_aedat3_skips_packets_of_other_types_and_ignores_the_validity_bit():
    polarity = bytearray(encode_aedat3(ONE))
    polarity[-8] &= 0xFE
    start = len(encode_aedat3(ONE[:0]))
    other = bytearray(polarity[start:])
    other[0] = 2
    assert np.array_equal(read_aedat3(bytes(polarity[:start] + other + polarity[start:])), ONE)


def test_aedat3_equals_spikingjelly(tmp_path):
    rng = np.random.default_rng(0)
    events = np.zeros(500, EVENT)
    events["t"], events["x"] = np.sort(rng.integers(0, 2**33, 500)), rng.integers(0, 128, 500)
    events["y"], events["p"] = rng.integers(0, 128, 500), rng.integers(0, 2, 500)
    write_aedat3(tmp_path / "a.aedat", events, packet_events=64)
    peer = load_aedat_v3(tmp_path / "a.aedat")
    assert all(np.array_equal(events[field], peer[field]) for field in "txyp")


@pytest.mark.parametrize("lost", [1, 4, 7])
def test_aedat2_cut_short_names_the_byte(lost):
    content = encode_aedat2(np.repeat(ONE, 2), orientation="raw")
    with pytest.raises(UserError, match=f"walk.aedat: cut short at byte {len(content) - 8}: expected an event of 8"):
        read_aedat2(content[:-lost], orientation="raw", name="walk.aedat")


@pytest.mark.parametrize(("kept", "expected"), [(-3, "8 bytes of events"), (-20, "a packet header of 28 bytes")])
def test_aedat3_cut_short_names_the_byte(kept, expected):
    content = encode_aedat3(ONE)
    start = len(encode_aedat3(ONE[:0]))
    offset = start + 28 if kept == -3 else start
    with pytest.raises(UserError, match=f"wave.aedat: cut short at byte {offset}: expected {expected}"):
        read_aedat3(content[:kept], name="wave.aedat")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", encode_aedat3(ONE), b"#!AER-DAT2.0 and no end of line"])
def test_aedat2_refuses_foreign_files(content):
    with pytest.raises(UserError, match="foreign"):
        read_aedat2(content, orientation="raw", name="foreign")


@pytest.mark.parametrize("content", [b"", b"\x89HDF", encode_aedat2(ONE, orientation="raw"), b"#!AER-DAT3.1\r\n"])
def test_aedat3_refuses_foreign_files(content):
    with pytest.raises(UserError, match="foreign"):
        read_aedat3(content, name="foreign")


def test_aedat2_refuses_addresses_of_another_sensor():
    content = AEDAT2_HEADER + bytes(8) + (1 << 22).to_bytes(4, "big") + bytes(4)
    with pytest.raises(UserError, match=rf"byte {len(AEDAT2_HEADER) + 8} holds the address 0x00400000"):
        read_aedat2(content, orientation="raw")


def test_unknown_orientation_is_refused():
    with pytest.raises(UserError, match="choose one of raw, cifar10dvs"):
        read_aedat2(AEDAT2_HEADER, orientation="upside-down")


@pytest.mark.parametrize("field", ["x", "y", "t"])
def test_aedat2_refuses_to_write_what_it_cannot_hold(field):
    too_big = ONE.copy()
    too_big[field] = -1
    with pytest.raises(UserError, match=f"AEDAT 2.0 holds {field} from 0"):
        encode_aedat2(too_big, orientation="raw")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.aedat: cannot read"):
        read_aedat3(tmp_path / "none.aedat")


@pytest.mark.parametrize("name", ["setA/Caixa", "setA/Tesoura", "misc/pendulo2"])
def test_real_dvs128_recording(name):
    path = real_file(f"dvs128_objects/{name}.aedat")
    events = read_aedat2(path, orientation="raw")
    ranges = [(int(events[field].min()), int(events[field].max())) for field in "xyp"]
    assert (ranges, bool((np.diff(events["t"]) >= 0).all())) == ([(0, 127), (0, 127), (0, 1)], True)
