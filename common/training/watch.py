"""What a run learns of itself while it goes on: losses, signals, and whether all processes are well."""

import math
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from common.errors import UserError
from common.training.checkpoint import save_file
from common.training.launch import Process, max_over_ranks
from common.training.loaders import moved
from common.training.state import TrainingState
from common.training.step import Recipe

STOPPING = (signal.SIGINT, signal.SIGTERM)
EVERY = {"cpu": 1, "cuda": 10}
"""Batches between two looks by device: on the CPU a look costs nothing, and then nothing is ever late."""


class Watch:
    """Collects what batches leave on the device, and looks at it every few batches and before every checkpoint.

    To look is to wait for the device and for the other processes. Only then is a loss shown, counted or found not to
    be finite, and only then does a signal to one process reach all of them.

    Args:
        every: batches between two looks; None chooses by the device.
        received: signals of this process.
    """

    def __init__(self, every: int | None, recipe: Recipe, process: Process, output_dir: Path, received: list[int]):
        self.every = EVERY[process.device.type] if every is None else every
        self.recipe, self.process, self.output_dir, self.received = recipe, process, output_dir, received
        self.seen: list[tuple[Tensor, int]] = []
        self.begin = self.waited = 0.0
        self.samples = 0
        self.batch: tuple[Tensor, Tensor] | None = None
        self.stop = 0
        """The signal that ends the run, 0 if none came."""
        self.asked = False
        """Whether a checkpoint was asked for."""

    def start(self) -> None:
        """Begin to measure an epoch, or what is left of it."""
        self.asked, self.begin, self.waited, self.samples = False, time.monotonic(), 0.0, 0

    def waiting(self, batches: Iterable[object]) -> Iterator[object]:
        """The `batches` of a loader, and how long it keeps this process waiting."""
        fetch = iter(batches)
        while True:
            before = time.monotonic()
            batch = next(fetch, None)
            self.waited += time.monotonic() - before
            if batch is None:
                return
            yield batch

    def speed(self) -> dict[str, float]:
        """Samples of all processes per second, and the share of the time that this process waited for data."""
        seconds = max(time.monotonic() - self.begin, 1e-9)
        return {"samples_per_second": self.samples / seconds, "data_wait": self.waited / seconds}

    def note(self, outcome: Tensor, batch: tuple[Tensor, Tensor]) -> None:
        """Remember the `outcome` of a batch, see `train_on`, and the batch if its loss is looked at before the next."""
        self.seen.append((outcome, len(batch[1])))
        if self.every == 1:
            self.batch = batch

    def look(self, state: TrainingState, batches: int, bar: tqdm) -> None:
        """Count what was noted, of an epoch of so many `batches`, tell `on_step`, and agree with the other processes.

        Raises:
            UserError: in every process, if a loss of any of them is not finite.
        """
        rows = torch.stack([outcome for outcome, _ in self.seen]).tolist()
        sizes = [size for _, size in self.seen]
        self.seen.clear()
        self._agree([loss for loss, *_ in rows], state)
        for number, ((loss, *correct), samples) in enumerate(zip(rows, sizes, strict=True), state.step - len(rows) + 1):
            weight = samples if self.recipe.loss_mean == "samples" else 1
            added = (loss * weight, *(correct[:1] or [0]), samples, *correct[1:])
            state.totals = [total + new for total, new in zip(state.totals, added, strict=True)]
            if self.recipe.on_step is not None and self.process.is_main:
                self.recipe.on_step(state.epoch * batches + number, loss)
        samples = sum(sizes) * self.process.world_size
        self.samples += samples
        self._show(state, bar, samples)

    def _agree(self, losses: list[float], state: TrainingState) -> None:
        """Tell all processes of signals and of a loss that is not finite, the earliest of the lowest rank."""
        ranks, count = self.process.world_size, len(losses)
        first = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), count)
        alarm = (count - 1 - first) * ranks + ranks - self.process.rank if first < count else 0
        asked = signal.SIGUSR1 in self.received
        if asked:
            self.received.remove(signal.SIGUSR1)
        alarm_of_all, stop, asked = max_over_ranks([alarm, stopping(self.received), asked], self.process)
        self.stop, self.asked = int(stop), self.asked or bool(asked)
        if not alarm_of_all:
            return
        number = state.step - int(alarm_of_all - 1) // ranks
        message = f"the loss is not finite in epoch {state.epoch + 1}, batch {number}"
        if self.batch is None:
            raise UserError(
                f"{message}; losses are looked at every {self.every} batches, too late to save that one: go on with "
                "--resume --log-every 1 to have it saved, or lower the learning rate"
            )
        path = self.output_dir / "nonfinite_batch.pt"
        if alarm == alarm_of_all:
            inputs, labels = moved(self.batch, torch.device("cpu"))
            save_file(path, {"inputs": inputs, "labels": labels, "epoch": state.epoch + 1, "batch": number})
        max_over_ranks([0], self.process)  # a launcher ends all processes with the first: wait for the whole file
        raise UserError(
            f"{message}; that batch is saved in {path}: look for bad samples in it, or lower the learning rate"
        )

    def _show(self, state: TrainingState, bar: tqdm, samples: int) -> None:
        """Move the bar on by `samples` and show this process's means so far."""
        loss_sum, correct, count = state.totals[:3]
        rate = state.optimizer.param_groups[0]["lr"]
        loss = loss_sum / (count if self.recipe.loss_mean == "samples" else state.step)
        shown = f"loss {loss:.4g}, acc1 {100 * correct / count:.1f}, lr {rate:.3g}"
        bar.set_postfix_str(f"{shown}, data wait {self.speed()['data_wait']:.0%}", refresh=False)
        bar.update(samples)


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGUSR1 in a list instead of being ended by them."""
    received: list[int] = []

    def remember(number: int, _frame: object) -> None:
        received.append(number)

    previous = {number: signal.signal(number, remember) for number in (*STOPPING, signal.SIGUSR1)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stopping(received: list[int]) -> int:
    """The first signal that ends the run, 0 if none came."""
    return next((number for number in received if number in STOPPING), 0)
