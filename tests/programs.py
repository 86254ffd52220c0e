"""Programs in processes of their own, forked from one that has torch, timm and the papers loaded.

A fresh interpreter takes four seconds to load what a training script needs; a fork takes none. What a program sees is
what it would see there: its arguments, folder, environment, `__main__` and the folder of its file on `sys.path`.
"""

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

PATIENCE = 300
"""Seconds, after which a program hangs."""
PRELOADED = (
    "tests.programs", "matplotlib.figure", "scipy.ndimage", "sklearn.datasets", "timm.data", "timm.optim",
    "torch.utils.tensorboard", "torchvision.transforms.v2", "common.ms_resnet.trainer", "gac.train_images",
    "ma_snn.train_events", "sdt_v3.train_images", "sma.train_events", "spikingformer.train_events",
    "spikingformer.train_images", "sdt_v3.train_detection", "sdt_v3.models.mask_rcnn", "faster_coco_eval",
)  # fmt: skip

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(PRELOADED))


class Program:
    """A running program; `wait` for it."""

    def __init__(self, path: Path | str, *arguments: object, cwd: Path | str = ".", **environment: str):
        self.command = [str(path), *map(str, arguments)]
        self.output = tempfile.TemporaryDirectory()
        settings = (self.command, str(cwd), os.environ | environment, self.output.name)
        self.process: BaseProcess = _server.Process(target=_run, args=settings)
        self.process.start()

    def wait(self) -> subprocess.CompletedProcess:
        """What `subprocess.run(capture_output=True, text=True)` returns.

        Raises:
            subprocess.TimeoutExpired: it hangs.
        """
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            raise subprocess.TimeoutExpired(self.command, PATIENCE)
        with self.output:
            printed = [(Path(self.output.name) / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(self.command, self.process.exitcode, *printed)


def run_program(path: Path | str, *arguments: object, **settings: str | Path) -> subprocess.CompletedProcess:
    """Run the script `path` to its end, in the folder `cwd` and with the variables of `settings`."""
    return Program(path, *arguments, **settings).wait()


def run_source(source: str, *arguments: object, **settings: str | Path) -> subprocess.CompletedProcess:
    """`run_program` of a text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(source)
        return run_program(path, *arguments, **settings)


def run_pair(
    path: Path | str, *arguments: object, flag: bool = False, processes: int = 2, **settings: str | Path
) -> list[subprocess.CompletedProcess]:
    """Run the script as the processes that torchrun would start, or with `flag` torch.distributed.launch."""
    count = str(processes)
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    pair = [
        Program(path, *[f"--local-rank={rank['RANK']}"] * flag, *arguments, **shared | rank | settings)
        for rank in ranks
    ]
    return [program.wait() for program in pair]


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def _run(command: Sequence[str], cwd: str, environment: Mapping[str, str], output: str) -> None:
    import torch

    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(Path(output) / name, os.O_WRONLY | os.O_CREAT), descriptor)
        setattr(sys, name, open(descriptor, "w", closefd=False, errors="backslashreplace"))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    torch.set_num_threads(1)
    sys.argv = list(command)
    sys.path.insert(0, str(Path(command[0]).resolve().parent))
    runpy.run_path(command[0], run_name="__main__")
