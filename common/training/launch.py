"""Starting a training script: its process among others, its seeds, its exit.

With `kernels/dispatch.py` the only module that reads the environment.
"""

import gc
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from common.errors import UserError
from common.files import UNWRITABLE
from common.locks import locked

GRACE = 60
"""Seconds that a process has to save its state when its launcher is gone."""
LONGEST = 2000
"""Characters of an error message."""

PATIENCE = timedelta(hours=4)
"""Of a process that waits for the others."""


@dataclass(frozen=True)
class Process:
    """One process among those that train together."""

    rank: int
    world_size: int
    local_rank: int
    device: torch.device
    local_world_size: int = 1
    """Processes on this machine, which share its cores."""
    prepares: bool = False
    """Whether this process, beside the main one, makes files that others read: on each node with disks of its own."""

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files and speaks."""
        return self.rank == 0


def start(device: str = "auto", local_rank: int = -1) -> Process:
    """Join the processes of torchrun or torch.distributed.launch, or stand alone without a launcher.

    The process group uses nccl on CUDA and gloo on CPU. The LOCAL_RANK variable wins over `local_rank`. A process
    waits up to `PATIENCE` for the others, who may be converting a data set.

    Raises:
        UserError: `device` is unknown or absent, or the variables of a launcher are there without one.
    """
    given = _launcher()
    launched = "RANK" in given and "WORLD_SIZE" in given
    rank, world_size = given.get("RANK", 0), given.get("WORLD_SIZE", 1)
    local_rank = given.get("LOCAL_RANK", max(local_rank, 0))
    neighbours = given.get("LOCAL_WORLD_SIZE", world_size)
    chosen = _device(device, local_rank if launched else None)
    if launched:
        if chosen.type == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // neighbours))
        _end_with_launcher()
        backend, bound = ("nccl", chosen) if chosen.type == "cuda" else ("gloo", None)
        store, *_ = next(dist.rendezvous("env://", rank, world_size, timeout=PATIENCE))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun's store keeps the addresses of dead ones
        store = dist.PrefixStore(f"attempt {attempt}", store)
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=world_size, timeout=PATIENCE, device_id=bound
        )
    prepares = local_rank == 0 and os.environ.get("SNN_NODE_LOCAL") == "1"
    return Process(rank, world_size, local_rank, chosen, neighbours, prepares)


def restarts() -> bool:
    """Whether the launcher starts the processes again when one dies, with the same arguments."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0


def _launcher() -> dict[str, int]:
    """The numbers that a launcher has set; empty variables count as absent."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    texts = {name: os.environ[name] for name in names if os.environ.get(name)}
    remedy = "start by torchrun, or unset RANK, WORLD_SIZE and LOCAL_RANK to train in one process"
    for name, text in texts.items():
        if not (text.isascii() and text.isdecimal()) or (name.endswith("SIZE") and int(text) < 1):
            raise UserError(f"{name} is {text!r}, expected a number; {remedy}")
    given = {name: int(text) for name, text in texts.items()}
    if "RANK" in given and "WORLD_SIZE" in given:
        if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
            raise UserError(f"RANK and WORLD_SIZE are set, but {' and '.join(missing)} are not; {remedy}")
        if given["RANK"] >= given["WORLD_SIZE"]:
            raise UserError(f"RANK is {given['RANK']} of WORLD_SIZE {given['WORLD_SIZE']}; {remedy}")
    return given


def _end_with_launcher() -> None:
    """End this process, after it has saved its state if it trains, when the launcher that started it is gone."""
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _device(name: str, local_rank: int | None) -> torch.device:
    """The device called `name`; of several CUDA devices the one of `local_rank` when a launcher gave one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device {name}: unknown device; expected auto, cpu or cuda") from error
    if device.type == "cpu":
        return device
    if device.type in ("mps", "xpu"):
        maker = {"mps": "Apple", "xpu": "Intel"}[device.type]
        raise UserError(f"--device {name}: training has not been tried on {maker}'s GPUs; use --device cpu")
    if device.type != "cuda":
        raise UserError(f"--device {name}: expected auto, cpu or cuda")
    index = local_rank if local_rank is not None else device.index or 0
    if index >= torch.cuda.device_count():
        raise UserError(
            f"--device {name}: CUDA device {index} was asked for, {torch.cuda.device_count()} are usable here; "
            "use --device cpu or start fewer processes"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def run(main: Callable[[], None]) -> None:
    """Call `main`; print what a user can mend as the one line `error: ...` on stderr and exit with status 2."""
    threading.excepthook = _thread_ended
    try:
        main()
    except Exception as error:
        if (message := _mendable(error)) is None:
            raise
        print(f"error: {' '.join(message.split())[:LONGEST]}", file=sys.stderr)
        sys.exit(2)
    finally:
        if dist.is_initialized():
            # A parallel wrapper that waits for the garbage collector would keep the group's threads alive into the
            # interpreter's shutdown, where they abort the process.
            gc.collect()
            dist.destroy_process_group()


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    """A thread that writes, TensorBoard's, has failed: the main one will say more if it matters."""
    if isinstance(args.exc_value, OSError) and (message := _mendable(args.exc_value)) is not None:
        print(f"warning: {message}", file=sys.stderr)
    else:
        threading.__excepthook__(args)


def _mendable(error: Exception) -> str | None:
    """What to tell the user of an error that is no mistake of the program; None if it may be one."""
    text = str(error)
    if isinstance(error, UserError):
        # An error in a loader's worker arrives with that process's traceback before it.
        return re.split(r"common\.errors\.\w+: ", text)[-1]
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return f"{error.filename or 'a file'}: {error.strerror}; look whether its folder is there, yours and has room"
    if isinstance(error, RuntimeError) and (found := re.search(r"DataLoader worker .*(exited|killed)[^.]*", text)):
        return f"{found[0]}: perhaps memory is short; try again with fewer --workers, or 0"
    if isinstance(error, RuntimeError) and re.search(r"gloo|NCCL|[Cc]onnection (closed|reset)|TCPStore", text):
        return f"the connection to another process of this training is lost ({text[:200]}); see what that one says"
    return None


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed Python, NumPy and torch (CPU and CUDA) with `seed + rank`, so that ranks draw different numbers."""
    random.seed(seed + rank)
    np.random.seed(seed + rank)
    torch.manual_seed(seed + rank)


@contextmanager
def main_first(process: Process) -> Iterator[None]:
    """Run the block in the main process, then in the others: for files that one makes and all read.

    With SNN_NODE_LOCAL=1 the first process of every node is among the first. When one of them fails, the others exit
    without a word: it has said why.
    """
    first = process.is_main or process.prepares
    if not first and any(max_over_ranks([0], process)):
        raise SystemExit(2)
    failed = True
    try:
        yield
        failed = False
    finally:
        if first and any(max_over_ranks([failed], process)) and not failed:
            raise SystemExit(2)


@contextmanager
def one_writer(folder: Path, process: Process) -> Iterator[None]:
    """Let the main process be the only one that writes to `folder`; where it cannot, all of them end."""
    with ExitStack() as stack:
        with main_first(process):
            if process.is_main:
                stack.enter_context(locked(folder))
        yield


def sum_over_ranks(values: Sequence[float], process: Process) -> list[float]:
    """Sum each number over all processes, in float64."""
    return _reduce(values, process, dist.ReduceOp.SUM)


def max_over_ranks(values: Sequence[float], process: Process) -> list[float]:
    """Largest of each number over all processes, in float64."""
    return _reduce(values, process, dist.ReduceOp.MAX)


def _reduce(values: Sequence[float], process: Process, operation: dist.ReduceOp) -> list[float]:
    if process.world_size == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=process.device)
    dist.all_reduce(tensor, operation)
    return tensor.tolist()
