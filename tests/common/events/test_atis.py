import numpy as np
import pytest
from hypothesis import given
from spikingjelly.datasets.utils import load_ATIS_bin

from common.errors import UserError
from common.events.aedat import encode_aedat3
from common.events.atis import encode_atis, read_atis, write_atis
from common.events.event import EVENT
from tests.common.events.conftest import assert_published, events_within, real_file

LAST = np.array([(2**23 - 1, 255, 239, 1)], dtype=EVENT)


def test_equals_the_original_reader_of_n_caltech101(published):
    assert_published(read_atis(published["ncaltech_file"].tobytes()), published, "ncaltech")


@given(events_within(2**23 - 1, 255, 239, min_size=1))
def test_round_trip(events):
    assert np.array_equal(read_atis(encode_atis(events)), events)


def test_bits_of_the_last_possible_event():
    assert encode_atis(LAST) == b"\xff\xef\xff\xff\xff"


def test_equals_spikingjelly(tmp_path, published):
    write_atis(tmp_path / "a.bin", read_atis(published["ncaltech_file"].tobytes()))
    peer, events = load_ATIS_bin(tmp_path / "a.bin"), read_atis(tmp_path / "a.bin")
    assert all(np.array_equal(events[field], peer[field]) for field in "txyp")


def test_cut_short_names_the_byte():
    with pytest.raises(UserError, match=r"ant\.bin: cut short at byte 5: expected an ATIS event of 5 bytes, found 3"):
        read_atis(bytes(8), name="ant.bin")


@pytest.mark.parametrize(("content", "found"), [(b"", "an empty file"), (encode_aedat3(LAST), "an AEDAT file")])
def test_foreign_files_are_refused(content, found):
    with pytest.raises(UserError, match=f"byte 0: expected ATIS events of 5 bytes, found {found}"):
        read_atis(content)


@pytest.mark.parametrize(("field", "value"), [("t", 2**23), ("x", 256), ("y", -1)])
def test_refuses_to_write_what_it_cannot_hold(field, value):
    events = LAST.copy()
    events[field] = value
    with pytest.raises(UserError, match=f"ATIS holds {field} from 0"):
        encode_atis(events)


def test_real_n_mnist_recordings():
    folder = real_file("nmnist_small")
    recordings = [read_atis(path) for path in sorted(folder.glob("*/*/*.bin"))]
    facts = (
        len(recordings),
        max(int(max(events["x"].max(), events["y"].max())) for events in recordings),
        round(min(int(events["t"][-1]) for events in recordings), -2),
        round(max(int(events["t"][-1]) for events in recordings), -2),
        all((np.diff(events["t"]) >= 0).all() for events in recordings),
    )
    assert facts == (285, 33, 299_700, 336_000, True)
