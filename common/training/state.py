"""Everything that a resumed run needs to go on as if it had never stopped."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from common.errors import UserError
from common.training.checkpoint import load_checkpoint, load_state, save_checkpoint
from common.training.launch import Process, max_over_ranks
from common.weights import write_card


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

    def save(self, path: Path, process: Process, metadata: dict[str, object]) -> None:
        """Write a checkpoint; all processes have to call it, the main one writes."""
        ranks = [{"rng": random_state(process.device), "totals": self.totals}]
        if process.world_size > 1:
            gathered = [None] * process.world_size
            dist.all_gather_object(gathered, ranks[0])
            ranks = gathered
        if process.is_main:
            content = {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "scheduler": self.scheduler and self.scheduler.state_dict(),
                "ema": self.ema and self.ema.state_dict(),
                "epoch": self.epoch,
                "step": self.step,
                "history": self.history,
                "ranks": ranks,
            }
            save_checkpoint(path, content, metadata)
            write_card(path, self.model)
        max_over_ranks([0], process)  # nobody goes on, or exits, before the file is complete

    def load(self, path: Path, process: Process, metadata: dict[str, object]) -> None:
        """Take everything over from a checkpoint.

        Raises:
            UserError: see `load_checkpoint`; or the weights or parameter groups are not those of this run.
        """
        content = load_checkpoint(path, metadata)
        try:
            self._take(content, path, process)
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
        own, now = own[process.rank], random_state(process.device)
        set_random_state(own["rng"], process.device)  # to see that it can be set
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
