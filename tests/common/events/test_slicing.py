import numpy as np
import pytest

from common.errors import UserError
from common.events.aedat import read_aedat3
from common.events.event import EVENT
from common.events.slicing import cut_by_labels, read_labels
from tests.common.events.conftest import real_file

HEADER = b"class,startTime_usec,endTime_usec\n"


def test_cuts_equal_the_original_ones(published):
    events = read_aedat3(published["gesture_file"].tobytes())
    samples = [sample["t"] for _, sample in cut_by_labels(events, published["gesture_csv"])]
    names = ["0_a_0", "1_a_0", "1_a_1", "10_a_0"]
    assert all(
        np.array_equal(sample, published[f"gesture_sample_{name}_t"])
        for sample, name in zip(samples, names, strict=True)
    )


def test_labels_count_from_zero(published):
    assert [label for label, _ in cut_by_labels(np.empty(0, EVENT), published["gesture_csv"])] == [0, 1, 1, 10]


def test_start_belongs_to_the_sample_and_end_does_not():
    events = np.array([(t, 0, 0, 0) for t in (9, 10, 19, 20)], dtype=EVENT)
    ((_, sample),) = cut_by_labels(events, np.array([[1, 10, 20]]))
    assert sample["t"].tolist() == [10, 19]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_rows_are_read(newline):
    content = (HEADER + b"1,10,20\n11,30,40\n\n").replace(b"\n", newline)
    assert read_labels(content).tolist() == [[1, 10, 20], [11, 30, 40]]


@pytest.mark.parametrize("content", [b"", b"1,10,20\n", b"label,start,end\n1,10,20\n", b"\xff\xfe\x00"])
def test_another_header_is_refused(content):
    with pytest.raises(UserError, match="user01: line 1: expected the header 'class,startTime_usec,endTime_usec'"):
        read_labels(content, name="user01")


@pytest.mark.parametrize("row", [b"0,10,20", b"12,10,20", b"1,10", b"1,-5,20", b"1,a,20"])
def test_a_bad_row_is_named_by_its_line(row):
    with pytest.raises(UserError, match="user01: line 3: expected a class from 1 to 11"):
        read_labels(HEADER + b"1,10,20\n" + row + b"\n", name="user01")


def test_real_label_file():
    labels = read_labels(real_file("formats/dvs128gesture_user01_natural_labels.csv"))
    assert labels[:, 0].tolist() == [1, 2, 3, 5, 4, 6, 7, 8, 8, 9, 10, 11]
