"""The original's result files of the CIFAR scripts: the settings, and checkpoints that its code reads."""

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from common.files import atomic_path
from common.training.checkpoint import save_file
from common.weights import card_file

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Row = dict[str, float]


def plain(args: argparse.Namespace) -> dict[str, object]:
    """The settings as a safe load knows them."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}


def write_args(args: argparse.Namespace, path: Path) -> None:
    """Write all settings and the command line."""
    with atomic_path(path) as temporary:
        temporary.write_text(f"{argparse.Namespace(**plain(args))}\n{shlex.join(sys.argv)}\n")


@dataclass(frozen=True)
class Results:
    """Writes the checkpoints of a run after each epoch: the last one under two names, and those of the best epochs."""

    args: argparse.Namespace
    folder: Path
    optimizer: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    average: AveragedModel | None = None
    board: "SummaryWriter | None" = None
    """Where the average's metrics go under the original's names, `ema_test_*`."""

    def __call__(self, model: nn.Module, history: list[Row]) -> None:
        """The callback of `fit`; epochs in the names of the files and in the checkpoints count from 0."""
        content, epoch = self.checkpoint(model, history), history[-1]["epoch"] - 1
        names = ["checkpoint_latest.pth", f"checkpoint_{epoch}.pth"]
        before = self.best(history[:-1])
        names += [f"checkpoint_max_{name}.pth" for name, best in self.best(history).items() if best > before[name]]
        for name in names:
            save_file(self.folder / name, content, model)
        past = self.folder / f"checkpoint_{epoch - 1}.pth"
        for path in (past, card_file(past)):
            path.unlink(missing_ok=True)
        if self.board is not None:
            for key, value in history[-1].items():
                if key.startswith("test_ema_"):
                    self.board.add_scalar(f"ema_{key.replace('ema_', '')}", value, history[-1]["epoch"])
            self.board.flush()

    def best(self, history: list[Row]) -> dict[str, float]:
        """The best accuracies so far, by the original's names."""
        keys = {"test_acc1": "test_acc1"} | ({"ema_test_acc1": "test_ema_acc1"} if self.average is not None else {})
        return {name: max((row[key] for row in history), default=-1.0) for name, key in keys.items()}

    def checkpoint(self, model: nn.Module, history: list[Row]) -> dict[str, object]:
        """What the original's checkpoints hold, the settings as a plain dictionary."""
        content = {
            "model": model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.schedule.state_dict(),
            "epoch": history[-1]["epoch"] - 1,
            "args": plain(self.args),
            "scaler": self.scaler.state_dict(),
            **{f"max_{name}": value for name, value in self.best(history).items()},
        }
        if self.average is not None:
            content["model_ema"] = self.average.state_dict()
        return content
