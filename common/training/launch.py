"""Starting a training script: its process among others, its seeds, its exit.

With `kernels/dispatch.py` the only module that reads the environment.
"""

import gc
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

from common.errors import UserError

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

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files and speaks."""
        return self.rank == 0


def start(device: str = "auto", local_rank: int = -1) -> Process:
    """Join the processes of torchrun or torch.distributed.launch, or stand alone without a launcher.

    The process group uses nccl on CUDA and gloo on CPU. The LOCAL_RANK variable wins over `local_rank`. A process
    waits up to `PATIENCE` for the others, who may be converting a data set.

    Raises:
        UserError: `device` is unknown or absent.
    """
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local_rank = int(os.environ.get("LOCAL_RANK", max(local_rank, 0)))
    neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    launched = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    chosen = _device(device, local_rank if launched else None)
    if launched:
        if chosen.type == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // neighbours))
        backend, bound = ("nccl", chosen) if chosen.type == "cuda" else ("gloo", None)
        dist.init_process_group(backend, rank=rank, world_size=world_size, timeout=PATIENCE, device_id=bound)
    return Process(rank, world_size, local_rank, chosen, neighbours)


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
    """Call `main`; print a UserError as the one line `error: ...` on stderr and exit with status 2."""
    try:
        main()
    except UserError as error:
        # An error in a loader's worker arrives with that process's traceback before it.
        message = str(error).strip().splitlines()[-1].removeprefix("common.errors.UserError: ")
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    finally:
        if dist.is_initialized():
            # A parallel wrapper that waits for the garbage collector would keep the group's threads alive into the
            # interpreter's shutdown, where they abort the process.
            gc.collect()
            dist.destroy_process_group()


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed Python, NumPy and torch (CPU and CUDA) with `seed + rank`, so that ranks draw different numbers."""
    random.seed(seed + rank)
    np.random.seed(seed + rank)
    torch.manual_seed(seed + rank)


@contextmanager
def main_first(process: Process) -> Iterator[None]:
    """Run the block in the main process, then in the others: for files that one makes and all read.

    When the main process fails, the others exit without a word: it has said why.
    """
    if not process.is_main and any(max_over_ranks([0], process)):
        raise SystemExit(2)
    failed = True
    try:
        yield
        failed = False
    finally:
        if process.is_main:
            max_over_ranks([failed], process)


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
