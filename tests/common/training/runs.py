"""Starting the toy script in processes of its own, and comparing what two runs leave behind."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from common.training import load_checkpoint
from common.training.record import OF_THE_CLOCK
from tests.programs import PATIENCE, free_port, run_pair

TOY = str(Path(__file__).with_name("toy.py"))
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def start_with(module, *arguments, launcher=()):
    """Two processes through a launcher module of torch, which may have flags of its own."""
    command = [sys.executable, "-m", module, "--standalone", "--nproc_per_node", "2", *launcher, TOY]
    command += map(str, arguments)
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=PATIENCE)


def start_pair(*runs, processes=2):
    """Processes as a launcher would start them, which do all `runs`; returns what each of them printed."""
    arguments = []
    for run in runs:  # a port each: one of the two may begin a run before the other has left the last
        arguments += ["then", *map(str, run), "--port", free_port()]
    return [result.stdout + result.stderr for result in run_pair(TOY, *arguments[1:], processes=processes)]


def outcome(folder):
    """Everything that a finished run determined, as plain values that compare with ==; times are left out."""
    content = load_checkpoint(folder / "checkpoint.pt")
    rows = [{key: value for key, value in row.items() if key not in OF_THE_CLOCK} for row in content["history"]]
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
