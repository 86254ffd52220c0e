"""The release's own result files: `log.txt` and the checkpoints that other code reads."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from common.files import atomic_path
from common.training.checkpoint import save_file
from common.training.record import OF_THE_CLOCK

Row = dict[str, float]


@dataclass(frozen=True)
class Results:
    """Writes the files of a run after each epoch, into `args.output_dir`.

    A checkpoint holds model, optimizer, epoch (from 0), scaler, args and, with an average, model_ema.
    """

    args: argparse.Namespace
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None = None

    def numbered(self, every: int) -> Callable[[nn.Module, list[Row]], None]:
        """Callback that writes `checkpoint-<epoch>.pth` each `every` epochs, at the end and at each new best."""

        def write(model: nn.Module, history: list[Row]) -> None:
            epoch = history[-1]["epoch"] - 1
            if epoch % every == 0 or epoch + 1 == self.args.epochs or is_best(history, "test_acc1"):
                self.save(f"checkpoint-{epoch}.pth", model, epoch)
            self.log(model, history)

        return write

    def best_and_last(self, model: nn.Module, history: list[Row]) -> None:
        """Callback that writes `last.pth`, and `best.pth` when the better of weights and average is a new best."""
        epoch = history[-1]["epoch"] - 1
        if is_best(history, "test_acc1", "test_ema_acc1"):
            self.save("best.pth", model, epoch)
        self.save("last.pth", model, epoch)
        self.log(model, history)

    def save(self, name: str, model: nn.Module, epoch: int) -> None:
        """Write one checkpoint."""
        plain = {key: str(value) if isinstance(value, Path) else value for key, value in vars(self.args).items()}
        content = {
            "model": model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": epoch,
            "scaler": self.scaler.state_dict(),
            "args": argparse.Namespace(**plain),
        }
        if self.ema is not None:
            content["model_ema"] = self.ema.module.state_dict()
        save_file(self.args.output_dir / name, content, model)

    def log(self, model: nn.Module, history: list[Row]) -> None:
        """Write `log.txt`, a JSON line per epoch."""
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        lines = [json.dumps(log_row(row) | {"n_parameters": parameters}) + "\n" for row in history]
        with atomic_path(self.args.output_dir / "log.txt") as temporary:
            temporary.write_text("".join(lines))


def is_best(history: list[Row], *keys: str) -> bool:
    """Whether the higher of `keys` is a new best in the last epoch; where no row has them, only the first is."""
    accuracies = [max(row.get(key, 0.0) for key in keys) for row in history]
    return accuracies[-1] > max(accuracies[:-1], default=-1.0)


def log_row(row: Row) -> Row:
    """A row of `common.training.fit` under the release's names, the epoch counted from 0."""
    renamed = {"lr": "train_lr"} | {key: f"ema_test_{key[9:]}" for key in row if key.startswith("test_ema_")}
    return {renamed.get(key, key): value for key, value in row.items() if key not in OF_THE_CLOCK} | {
        "epoch": row["epoch"] - 1
    }
