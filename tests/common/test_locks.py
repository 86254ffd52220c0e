import os
import subprocess
import sys

import pytest

from common.errors import UserError
from common.locks import FILE, locked

HOLD = (
    "import sys; from common.locks import locked\nwith locked(sys.argv[1]): print('in', flush=True); sys.stdin.read()"
)


def test_another_process_is_named_and_a_killed_one_holds_nothing(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "in\n"
    with pytest.raises(UserError, match=f"another process writes there .process {other.pid} on"), locked(tmp_path):
        pass
    other.kill()
    other.communicate()
    with locked(tmp_path), locked(tmp_path):  # as a script does whose parts lock too
        assert f"process {os.getpid()} " in (tmp_path / FILE).read_text()
    assert not list(tmp_path.iterdir())


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.warns(UserWarning, match="cannot be locked .No locks available"), locked(tmp_path):
        pass
