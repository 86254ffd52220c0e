"""Settings of the whole test run."""

import os

import torch


def pytest_configure():
    """One thread per process when several test processes share the cores."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
