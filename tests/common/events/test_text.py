import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from common.errors import UserError
from common.events.text import read_text, write_text
from tests.common.events.conftest import events_within


def test_columns_are_t_x_y_p():
    assert read_text(b"17 3 4 1\n 18\t5 6 0\r\n").tolist() == [(17, 3, 4, 1), (18, 5, 6, 0)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events_within(1 << 40, 127, 127, min_size=1))
def test_what_is_written_is_read(tmp_path, events):
    write_text(tmp_path / "walk.txt", events)
    assert np.array_equal(read_text(tmp_path / "walk.txt"), events)


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"", "empty file"),
        (b"\n \n", "empty file"),
        (b"1 2 3\n", "found 3 per line"),
        (b"1 2 3 1\n4 5 6\n", "columns changed from 4 to 3 at row 2"),
        (b"1 2 3 x\n", "'x'"),
        (b"1 2 3 1.5\n", "'1.5'"),
        (b"1 2 3 2\n", "p from 2 to 2"),
    ],
)
def test_other_content_is_refused(content, problem):
    with pytest.raises(UserError, match=f"walk: expected .*{problem}"):
        read_text(content, name="walk")
