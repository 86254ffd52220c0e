"""The original's result files: the model, the table, and the log of what is printed."""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO

import torch
from torch import nn

from common.files import atomic_path
from common.weights import write_card
from ma_snn.config import Config


def write_results(config: Config, model: nn.Module, history: list[dict]) -> None:
    """The original's files: the model at each new best test accuracy, the table after the last epoch."""
    accuracies = [row["test_acc1"] for row in history]
    if all(accuracies[-1] > past for past in accuracies[:-1]):
        state = {f"module.{key}": value for key, value in model.state_dict().items()}
        content = {"net": state, "acc": accuracies[-1], "epoch": len(history), "acc_record": accuracies}
        with atomic_path(config.modelPath / config.modelNames) as temporary:
            torch.save(content, temporary, _use_new_zipfile_serialization=False)
        write_card(config.modelPath / config.modelNames, model)
    if len(history) == config.num_epochs:
        write_table(config.recordPath / config.recordNames, history)


def write_table(path: Path, history: list[dict]) -> None:
    """One column per epoch, and one that has the best epoch for a heading and its test accuracy alone below."""
    best = max(history, key=lambda row: row["test_acc1"])
    rows = {
        "Train_Loss": "train_loss", "Test_Loss": "test_loss", "Train_Accuracy": "train_acc1",
        "Test_Accuracy": "test_acc1",
    }  # fmt: skip
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["Epochs", *(row["epoch"] for row in history), best["epoch"]])
        for name, key in rows.items():
            writer.writerow([name, *(row[key] for row in history), best[key] if key == "test_acc1" else None])


class Tee:
    """A text stream that writes to several."""

    def __init__(self, *streams: TextIO):
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()


@contextmanager
def log_to(path: Path, resume: object) -> Iterator[None]:
    """Within the block, what is printed also goes to the file `path`, after what a resumed run has left there."""
    with path.open("a" if resume else "w") as log, redirect_stdout(Tee(sys.stdout, log)):
        yield
