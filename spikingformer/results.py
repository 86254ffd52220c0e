"""The authors' own result files: settings, a table of the epochs, and checkpoints that their code reads."""

import argparse
import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from common.files import atomic_path
from common.training.checkpoint import save_file
from common.training.record import Board
from common.weights import card_file, write_card
from spikingformer.recipe import EpochSchedule

Row = dict[str, float]
METRICS = {"top1": "acc1", "top5": "acc5", "loss": "loss"}
"""Names of `--eval-metric` and of the columns of `summary.csv`, and ours."""
LAST = "last.pth.tar"


def plain(args: argparse.Namespace) -> dict[str, object]:
    """The settings as YAML and a safe load know them."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}


def write_args(args: argparse.Namespace, path: Path) -> None:
    """Write all settings; the file is a settings file for `-c` again."""
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(plain(args), sort_keys=False))


def write_summary(folder: Path, history: Sequence[Row], average: bool = False) -> None:
    """`summary.csv`: epoch from 0, train_loss, eval_loss, eval_top1, eval_top5, of the averaged weights if any."""
    prefix = "test_ema_" if average else "test_"
    names = {f"eval_{name}": f"{prefix}{METRICS[name]}" for name in ("loss", "top1", "top5")}
    with atomic_path(folder / "summary.csv") as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", "train_loss", *names])
        for row in history:
            writer.writerow([row["epoch"] - 1, row["train_loss"], *(row.get(key, "") for key in names.values())])


@dataclass(frozen=True)
class ImageResults:
    """Writes `summary.csv`, `last`, `model_best` and the best `checkpoint-<epoch>` of a run after each epoch."""

    args: argparse.Namespace
    folder: Path
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    average: AveragedModel | None = None

    def metric(self, row: Row) -> float:
        """What `--eval-metric` says of an epoch; the higher the better."""
        value = row[("test_ema_" if self.average else "test_") + METRICS[self.args.eval_metric]]
        return -value if self.args.eval_metric == "loss" else value

    def __call__(self, model: nn.Module, history: list[Row]) -> None:
        """The callback of `fit`; epochs in the names of the files count from 0."""
        write_summary(self.folder, history, self.average is not None)
        newest = history[-1]
        ranked = sorted(history, key=self.metric, reverse=True)  # stable: of equals the earlier is better
        save_file(self.folder / LAST, self.checkpoint(model, newest), model)
        kept = ranked[: self.args.checkpoint_hist]
        if newest in kept:
            copy(self.folder / LAST, self.path(newest))
            write_card(self.path(newest), model)
        if newest is ranked[0]:
            copy(self.folder / LAST, self.folder / "model_best.pth.tar")
            write_card(self.folder / "model_best.pth.tar", model)
        for row in ranked[len(kept) :]:
            for path in (self.path(row), card_file(self.path(row))):
                path.unlink(missing_ok=True)

    def path(self, row: Row) -> Path:
        """The checkpoint of an epoch."""
        return self.folder / f"checkpoint-{row['epoch'] - 1}.pth.tar"

    def checkpoint(self, model: nn.Module, row: Row) -> dict[str, object]:
        """What timm's checkpoints hold, the settings as a plain dictionary."""
        content = {
            "epoch": row["epoch"] - 1,
            "arch": "vit_snn",
            "state_dict": model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "version": 2,
            "args": plain(self.args),
            "amp_scaler": self.scaler.state_dict(),
            "metric": abs(self.metric(row)),
        }
        if self.average is not None:
            content["state_dict_ema"] = self.average.module.state_dict()
        return content


def copy(source: Path, target: Path) -> None:
    """Copy a file, atomically."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


@dataclass(frozen=True)
class EventResults:
    """Writes `summary.csv`, `checkpoint_max_test_acc1.pth` and, after `epochs`, `checkpoint_<last epoch>.pth`.

    The `boards` "train" and "test" of TensorBoard get loss and accuracies under the authors' names `train_*`, `test_*`.
    """

    args: argparse.Namespace
    folder: Path
    boards: Mapping[str, Board]
    optimizer: Optimizer
    schedule: EpochSchedule
    epochs: int

    def __call__(self, model: nn.Module, history: list[Row]) -> None:
        """The callback of `fit`."""
        write_summary(self.folder, history)
        newest = history[-1]
        for part, board in self.boards.items():
            keys = [f"{part}_{kind}" for kind in ("loss", "acc1", "acc5")]
            board.add(newest["epoch"] - 1, **{key: newest[key] for key in keys if key in newest})
        best = max(history, key=lambda row: row["test_acc1"])  # of equals the first
        content = {
            "model": model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.schedule.schedule.state_dict(),
            "epoch": newest["epoch"] - 1,
            "args": plain(self.args),
            "max_test_acc1": best["test_acc1"],
            "test_acc5_at_max_test_acc1": best.get("test_acc5"),
        }
        if newest is best:
            save_file(self.folder / "checkpoint_max_test_acc1.pth", content, model)
        if newest["epoch"] == self.epochs:
            save_file(self.folder / f"checkpoint_{self.epochs - 1}.pth", content, model)


class StepLog:
    """Prints a `Train:` line each `interval` batches and at the end of an epoch, as timm's script does."""

    def __init__(self, optimizer: Optimizer, batches: int, interval: int):
        self.optimizer, self.batches, self.interval = optimizer, batches, interval
        self.total, self.count = 0.0, 0

    def __call__(self, batch: int, loss: float) -> None:
        """The callback of `fit`: batch = 1, 2, ... through all epochs."""
        epoch, index = divmod(batch - 1, self.batches)
        self.total, self.count = self.total + loss, self.count + 1
        if index % self.interval == 0 or index + 1 == self.batches:
            share = 100 * index / max(self.batches - 1, 1)
            print(
                f"Train: {epoch} [{index:>4d}/{self.batches} ({share:>3.0f}%)]  Loss: {loss:#.4g} "
                f"({self.total / self.count:#.4g})  LR: {self.optimizer.param_groups[0]['lr']:.3e}",
                flush=True,
            )
        if index + 1 == self.batches:
            self.total, self.count = 0.0, 0
