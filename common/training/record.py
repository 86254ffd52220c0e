"""What a person can look at: a line per epoch, a progress bar, log.csv, log.jsonl and TensorBoard."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tqdm import tqdm

from common.files import atomic_path
from common.training.launch import Process
from common.training.trackers import open_tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Row = Mapping[str, float]
OF_THE_CLOCK = ("samples_per_second", "data_wait", "seconds")
"""Entries of a row that differ when the same run is repeated."""


class Recorder:
    """Writes the history of a run in the main process; in the others it does nothing."""

    def __init__(
        self,
        folder: Path,
        tensorboard_dir: Path,
        process: Process,
        first_epoch: int,
        epochs: int,
        select: str | None,
        tracker: str | None = None,
        settings: Mapping[str, object] | None = None,
    ):
        from torch.utils.tensorboard import SummaryWriter

        self.folder, self.epochs, self.select = folder, epochs, select
        # Purging hides what an interrupted run wrote for the epochs that are now repeated.
        self.board = SummaryWriter(tensorboard_dir, purge_step=first_epoch) if process.is_main else None
        self.tracker = tracker if process.is_main else None
        if self.tracker:
            self.log, self.end = open_tracker(self.tracker, folder, settings or {})

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.board is not None:
            self.board.close()
        if self.tracker:
            self.end()

    def write(self, history: Sequence[Row]) -> None:
        """Write both logs anew from `history`, add its last row to TensorBoard and print it."""
        if self.board is None:
            return
        write_logs(self.folder, history)
        for key, value in history[-1].items():
            self.board.add_scalar(key, value, history[-1]["epoch"])
        self.board.flush()
        if self.tracker:
            try:
                self.log(history[-1])
            except Exception as error:  # of a foreign service, for which no training ends
                print(f"warning: {self.tracker} was not told of epoch {history[-1]['epoch']}: {error}", file=sys.stderr)
        print(summary(history, self.epochs, self.select), flush=True)


class Board:
    """A folder of TensorBoard for the tags of a paper's own script, opened with its first values.

    With `purge` that hides what an interrupted run wrote for the steps that are now repeated; in the folder of
    `Recorder`, whose values it would hide too, that one does it for both.
    """

    def __init__(self, folder: Path, *, purge: bool):
        self.folder, self.purge = folder, purge
        self.writer: SummaryWriter | None = None

    def add(self, step: int, **values: float | Mapping[str, float]) -> None:
        """A value, or several that one diagram shows, for each tag."""
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(self.folder, purge_step=step if self.purge else None)
        for tag, value in values.items():
            add = self.writer.add_scalars if isinstance(value, Mapping) else self.writer.add_scalar
            add(tag, value, step)
        self.writer.flush()


def write_logs(folder: Path, history: Sequence[Row]) -> None:
    """`log.csv` and `log.jsonl`, one row per epoch; whole files, so that a resumed run repeats no row."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    with atomic_path(folder / "log.csv") as path, path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(history)
    with atomic_path(folder / "log.jsonl") as path:
        path.write_text("".join(json.dumps(row) + "\n" for row in history))


def summary(history: Sequence[Row], epochs: int, select: str | None) -> str:
    """The last row as one line, with the best value so far of the test metric `select`."""
    row = history[-1]
    parts = [f"epoch {row['epoch']}/{epochs}"]
    parts += [f"{key} {value:.4g}" for key, value in row.items() if key != "epoch" and not key.endswith("samples")]
    if select is not None:
        best = max(history, key=lambda past: past[f"test_{select}"])
        parts.append(f"best {select} {best[f'test_{select}']:.4g} in epoch {best['epoch']}, selected on the test set")
    return " | ".join(parts)


def verdict(history: Sequence[Row], num_classes: int) -> str:
    """The sentence that ends a run: last and best test accuracy in percent, how the best was selected, and chance."""
    last, best = history[-1], max(history, key=lambda row: row["test_acc1"])
    average = f", of the average {last['test_ema_acc1']:.2f} %" if "test_ema_acc1" in last else ""
    return (
        f"last test accuracy {last['test_acc1']:.2f} %{average}, best {best['test_acc1']:.2f} % at epoch "
        f"{best['epoch']} (selected on the test set); chance is {100 / num_classes:.1f} %"
    )


def progress_bar(epoch: int, total: int, done: int, process: Process) -> tqdm:
    """Bar over the samples of an epoch, in the main process and on a terminal only."""
    hidden = None if process.is_main else True  # None: tqdm looks for a terminal
    return tqdm(desc=f"epoch {epoch + 1}", total=total, initial=done, disable=hidden, leave=False, unit=" samples")
