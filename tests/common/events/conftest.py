"""Events to test with: the parity fixture, and strategies that draw any recording a container can hold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from common.events.event import EVENT

FIXTURE = Path(__file__).parents[2] / "parity" / "sma" / "data_events_T10.npz"
REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def published() -> dict[str, np.ndarray]:
    """Synthetic raw files of each container and what the original readers made of them."""
    with np.load(FIXTURE) as bundle:
        return dict(bundle)


def events_within(max_t: int, max_x: int, max_y: int, *, min_size: int = 0) -> st.SearchStrategy[np.ndarray]:
    """Strategy for events [N] with every field between 0 and its limit."""
    one = st.tuples(st.integers(0, max_t), st.integers(0, max_x), st.integers(0, max_y), st.integers(0, 1))
    return st.lists(one, min_size=min_size, max_size=60).map(lambda rows: np.array(rows, dtype=EVENT))


def assert_published(events: np.ndarray, published: dict[str, np.ndarray], prefix: str) -> None:
    """`events` equal the four arrays that the original reader returned."""
    for field in "txyp":
        np.testing.assert_array_equal(events[field], published[f"{prefix}_{field}"])


def real_file(name: str) -> Path:
    """A real recording beside the checkout; skips the test when there is none."""
    path = REAL_DATA / name
    if not path.exists():
        pytest.skip(f"the real recordings are not here: {path}")
    return path
