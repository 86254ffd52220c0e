"""Settings of the whole test run."""

import os

import pytest
import torch


def pytest_configure():
    """One thread per process when several test processes share the cores."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


@pytest.fixture
def refusal(call, capsys):
    """Calls a script by the `call` of its test module; it must refuse, and the one line it prints is returned."""

    def call_script(script, *arguments, **settings):
        with pytest.raises(SystemExit) as exit:
            call(script, *arguments, **settings)
        assert exit.value.code == 2
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, error
        return lines[0]

    return call_script
