"""Everything that a resumed run needs to go on as if it had never stopped."""

import random
import re
import shutil
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from common.errors import UserError
from common.files import make_folder
from common.training.checkpoint import load_checkpoint, load_state, save_checkpoint
from common.training.launch import Process, max_over_ranks
from common.training.writer import Writer
from common.weights import write_card

if TYPE_CHECKING:
    from common.training.sharding import Sharded


@dataclass
class TrainingState:
    """The objects that training changes, and how far it has come."""

    model: nn.Module
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    scheduler: LRScheduler | None
    ema: AveragedModel | None
    epoch: int = 0  # finished epochs
    step: int = 0  # batches of the current epoch that are done
    totals: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # of this process: loss sum, correct, samples
    history: list[dict[str, float]] = field(default_factory=list)
    rng: dict[str, object] | None = None  # to be put back before the next batch is fetched
    sharded: "Sharded | None" = None  # what is trained, where that is no whole network

    @property
    def trained(self) -> nn.Module:
        """The network whose parameters the optimizer changes."""
        return self.model if self.sharded is None else self.sharded.network

    def follow(self) -> None:
        """Move the average, if there is one, on to the weights."""
        if self.ema is not None and self.sharded is None:
            self.ema.update_parameters(self.model)
        elif self.ema is not None:
            self.sharded.follow()

    def whole(self) -> AbstractContextManager[None]:
        """Within a `with` block of all processes `model`, `ema` and `optimizer` hold everything."""
        return nullcontext() if self.sharded is None else self.sharded.whole()

    def save(
        self, path: Path, process: Process, metadata: dict[str, object], keep: int = 0, writer: Writer | None = None
    ) -> None:
        """Write a checkpoint; all processes have to call it, and the main one writes but for sharded tensors.

        The last `keep` are there as `checkpoint-EPOCH-STEP.pt` too. With a `writer` it is only begun, after the one
        before has ended.
        """
        if writer is not None:
            writer.wait()
        ranks = [{"rng": random_state(process.device), "totals": self.totals}]
        if process.world_size > 1:
            gathered = [None] * process.world_size
            dist.all_gather_object(gathered, ranks[0])
            ranks = gathered
        average = self.ema if self.sharded is None else self.sharded.average
        content, parts = {}, None
        if process.is_main or self.sharded is not None:
            content = {
                "model": self.trained.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "scheduler": self.scheduler and self.scheduler.state_dict(),
                "ema": average and average.state_dict(),
                "epoch": self.epoch,
                "step": self.step,
                "history": self.history,
                "ranks": ranks,
            }
        if self.sharded is not None:
            from common.training.sharding import write_parts  # slow to import, as it brings all of FSDP

            group = None if writer is None else self.sharded.group
            content, parts = write_parts(_emptied(path, self.epoch, self.step, process), content, group)
        if writer is not None:
            writer.begin(partial(self._write, path, process, writer.copy(content), parts, metadata, keep))
            return
        self._write(path, process, content, parts, metadata, keep)
        max_over_ranks([0], process)  # nobody goes on, or exits, before the file is complete

    def _write(
        self,
        path: Path,
        process: Process,
        content: dict[str, object],
        parts: Future | None,
        metadata: dict[str, object],
        keep: int,
    ) -> None:
        """What the main process writes, when the parts of all processes are there; training may be ahead of it."""
        if parts is not None:
            parts.result()
        if process.is_main:
            if "parts" in content:
                folder = path.with_name(content["parts"])
                content["sizes"] = {file.name: file.stat().st_size for file in folder.iterdir()}
            save_checkpoint(path, content, metadata)
            write_card(path, self.model)
            _leave(path, keep, f"{path.stem}-{content['epoch']}-{content['step']}", content.get("parts"))

    def load(self, path: Path, process: Process, metadata: dict[str, object]) -> int:
        """Take everything over from a checkpoint; the number of processes that wrote it.

        Where others go on than wrote it, their random numbers start anew and the first has the totals of all.

        Raises:
            UserError: see `load_checkpoint`; or the weights or parameter groups are not those of this run.
        """
        content = load_checkpoint(path, metadata)
        try:
            self._take(content, path, process)
            return len(content["ranks"])
        except UserError:
            raise
        except Exception as error:  # whatever comes of fields that are missing or of another type
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UserError(f"{path} is no whole checkpoint of this run ({reason}); resume from another one") from error

    def _take(self, content: dict[str, object], path: Path, process: Process) -> None:
        load_state(self.model, content["model"], path)
        try:
            self.optimizer.load_state_dict(content["optimizer"])
        except ValueError as error:
            raise UserError(f"{path} has other parameter groups than this run; resume with its optimizer") from error
        if content["scaler"]:  # empty without fp16
            self.scaler.load_state_dict(content["scaler"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(content["scheduler"])
        if self.ema is not None:
            self.ema.load_state_dict(content["ema"])
        epoch, step, history, own = (content[key] for key in ("epoch", "step", "history", "ranks"))
        own, now = _own(own, process), random_state(process.device)
        set_random_state(own["rng"] or now, process.device)  # to see that it can be set
        set_random_state(now, process.device)
        if not all(isinstance(number, int) and number >= 0 for number in (epoch, step)) or len(history) > epoch:
            raise ValueError(f"epoch {epoch!r}, step {step!r} and {len(history)} rows of history")
        totals = own["totals"]
        if len(totals) != len(self.totals) or not all(isinstance(total, int | float) for total in totals):
            raise ValueError(f"totals {totals!r}")
        if not all(isinstance(row, dict) for row in history):
            raise ValueError("rows of history of another type")
        self.epoch, self.step, self.history = epoch, step, history
        self.totals, self.rng = totals, own["rng"]


def _own(ranks: list[dict[str, object]], process: Process) -> dict[str, object]:
    """The entry of a checkpoint that is this process's."""
    if len(ranks) == process.world_size:
        return ranks[process.rank]
    totals = [sum(numbers) for numbers in zip(*(rank["totals"] for rank in ranks), strict=True)]
    return {"rng": None, "totals": totals if process.is_main else [0.0] * len(totals)}


def _emptied(path: Path, epoch: int, step: int, process: Process) -> Path:
    """An empty folder for the parts of a checkpoint at `path`."""
    folder = path.with_name(f"{path.stem}-{epoch}-{step}.parts")
    if process.is_main:
        shutil.rmtree(folder, ignore_errors=True)  # a run that was killed here left it
        make_folder(folder)
    max_over_ranks([0], process)
    return folder


def _leave(path: Path, keep: int, name: str, parts: str | None) -> None:
    """Call the checkpoint at `path` by `name` too if any are to be kept, and delete what they make needless."""
    if keep:
        copy = path.with_name(name + path.suffix)
        copy.unlink(missing_ok=True)
        try:
            copy.hardlink_to(path)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, copy)
    numbered = [file for file in path.parent.iterdir() if re.fullmatch(rf"{path.stem}-\d+-\d+{path.suffix}", file.name)]
    numbered.sort(key=lambda file: [int(word) for word in file.stem.split("-")[-2:]])
    kept = numbered[-keep:]  # without `keep` all that an earlier run left
    for file in numbered[: len(numbered) - len(kept)]:
        file.unlink()
    for folder in path.parent.glob(f"{path.stem}-*.parts"):
        if folder.name != parts and folder.stem not in [file.stem for file in kept]:
            shutil.rmtree(folder, ignore_errors=True)


def random_state(device: torch.device) -> dict[str, object]:
    """State of the Python, NumPy, torch and CUDA random generators, in types that a safe load accepts."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_state(state: dict[str, object], device: torch.device) -> None:
    """Put back what `random_state` returned."""
    name, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
