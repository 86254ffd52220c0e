"""Starting the toy script in processes of its own, and comparing what two runs leave behind."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from common.training import load_checkpoint

TOY = str(Path(__file__).with_name("toy.py"))
PATIENCE = 180  # seconds, after which a run hangs
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start_alone(*arguments):
    return _finish([sys.executable, TOY, *map(str, arguments)])


def start_with(launcher, *arguments):
    """Two processes through a launcher module of torch."""
    start = [sys.executable, "-m", launcher, "--standalone", "--nproc_per_node", "2"]
    return _finish([*start, TOY, *map(str, arguments)])


def _finish(command):
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=PATIENCE)


def start_pair(*runs):
    """Two processes as a launcher would start them, which do all `runs`; returns what each of them printed."""
    arguments = []
    for run in runs:  # a port each: one of the two may begin a run before the other has left the last
        arguments += ["then", *map(str, run), "--port", _free_port()]
    pair = [
        subprocess.Popen(
            [sys.executable, TOY, *arguments[1:]],
            env=ENVIRONMENT
            | {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        return [process.communicate(timeout=PATIENCE)[0] for process in pair]
    finally:
        for process in pair:
            process.kill()


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def outcome(folder):
    """Everything that a finished run determined, as plain values that compare with ==; times are left out."""
    content = load_checkpoint(folder / "checkpoint.pt")
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in content["history"]]
    return {
        "history": rows,
        **{name: _plain(content[name]) for name in ("model", "optimizer", "scheduler", "ema")},
    }


def _plain(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
