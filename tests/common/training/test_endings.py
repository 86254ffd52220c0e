import os
import signal

import pytest

from common.errors import UserError
from common.training import launch
from common.training.launch import run, start

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"RANK": "0", "WORLD_SIZE": "1"}, "RANK and WORLD_SIZE are set, but MASTER_ADDR and MASTER_PORT are not"),
        ({"RANK": "x", "WORLD_SIZE": "1"}, "RANK is 'x', expected a number"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "RANK is 2 of WORLD_SIZE 2"),
        ({"RANK": "", "WORLD_SIZE": "", "LOCAL_RANK": ""}, ""),
    ],
)
def test_variables_without_a_launcher_are_explained(monkeypatch, variables, problem):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if problem:
        with pytest.raises(UserError, match=f"{problem}.*; start by torchrun, or unset"):
            start("cpu")
    else:
        assert start("cpu").world_size == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("a.npz: first\n\nsecond"), "a.npz: first second"),
        (UserError("Caught\nTraceback\ncommon.errors.UserError: a.npz: b\nc"), "a.npz: b c"),
        (UserError("x" * 9000), "x" * launch.LONGEST),
        (OSError(28, "No space left on device", "/a/b"), "/a/b: No space left on device; look"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "DataLoader worker (pid 7) is killed",
        ),
        (RuntimeError("[../gloo/x.cc] Connection closed by peer"), "the connection to another process"),
    ],
)
def test_what_a_user_can_mend_ends_in_one_line(capsys, error, line):
    def fail():
        raise error

    with pytest.raises(SystemExit, match="2"):
        run(fail)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {line}") and said.count("\n") == 1


def test_a_mistake_of_the_program_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="size mismatch"):
        run(lambda: (_ for _ in ()).throw(RuntimeError("size mismatch")))


def test_a_process_ends_with_its_launcher(monkeypatch):
    parents, ended = [7, 7, 1], []
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0))
    monkeypatch.setattr(os, "kill", lambda *what: ended.append(what))
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(launch.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(
        launch.threading, "Thread", lambda target, daemon: type("Now", (), {"start": lambda _: target()})()
    )
    launch._end_with_launcher()
    assert ended == [(os.getpid(), signal.SIGTERM), 1]
