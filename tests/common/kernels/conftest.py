"""Tensors of tests are small; those of training steps are not."""

import pytest

from common.kernels import memory


@pytest.fixture(autouse=True)
def every_tensor_is_worth_making_smaller(monkeypatch):
    """What is kept for a backward pass is made smaller whatever its size."""
    monkeypatch.setattr(memory, "SMALL", 0)
