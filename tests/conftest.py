"""Settings of the whole test run."""

import gc
import os
import random
from contextlib import suppress

import hypothesis
import numpy as np
import pytest
import torch

from common.errors import UserError
from common.kernels import retain_memory

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)


def pytest_configure():
    """The same draws in every run; one thread per process when several test processes share the cores.

    Freed memory is kept: networks of full size in float64 would spend a tenth of their time on fresh pages.
    """
    hypothesis.settings.load_profile("repeatable")
    with suppress(UserError):
        retain_memory()
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


def pytest_collection_finish():
    """The garbage collector need not look again and again at what was imported."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Seed before any fixture, so that a test draws the same numbers alone, in any order and in any process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def refusal(call, capsys):
    """Calls a script by the `call` of its test module; it must refuse, and the one line it prints is returned."""

    def call_script(*arguments, **settings):
        with pytest.raises(SystemExit) as exit:
            call(*arguments, **settings)
        assert exit.value.code == 2
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, error
        return lines[0]

    return call_script
