import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """The toy network is far too small to share out, and waiting threads slow the tests down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
