"""What the MS-ResNet family's ImageNet trainers leave behind: folders, weight files, TensorBoard tags."""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from torch import nn

from common.training.checkpoint import save_file
from common.training.launch import Process

Row = dict[str, float]
EVERY = 10
"""Iterations between two values of the training loss in TensorBoard."""


def last_epochs(history: Sequence[Row], epochs: int, save_epoch: int) -> str | None:
    """MS-ResNet's rule: "<epoch>-best", "<epoch>-regular" or None for the weights of the newest epoch e of E.

    The first that holds: e > E - 5 and better than all since E - 4: best; e >= E - 5: regular; every `save_epoch`
    epochs: regular.
    """
    *past, newest = history
    epoch = int(newest["epoch"])
    rivals = [row["test_acc1"] for row in past if row["epoch"] > epochs - 5]
    if epoch > epochs - 5 and newest["test_acc1"] > max(rivals, default=0.0):
        return f"{epoch}-best"
    return f"{epoch}-regular" if epoch >= epochs - 5 or epoch % save_epoch == 0 else None


def every_best(history: Sequence[Row], epochs: int, save_epoch: int) -> str | None:
    """GAC's rule: each new best overwrites the last one."""
    *past, newest = history
    return "best" if newest["test_acc1"] > max((row["test_acc1"] for row in past), default=-1.0) else None


Rule = Callable[[Sequence[Row], int, int], str | None]


class RunFiles:
    """Writes the weights and TensorBoard values of a run, in the main process; accuracies in percent.

    | tag | at |
    |---|---|
    | `Train/avg_loss`, mean of the last 10 batches | batches 10, 20, ... of the run |
    | `Train/avg_loss_numpic`, the same | images seen by then |
    | `Train/acc`, `Test/Average loss`, `Test/Accuracy` | epochs |

    Args:
        folder: of the weights.
        log_dir: of TensorBoard.
        net: first word of the names of the weights.
        rule, epochs, save_epoch: decide with the history which weights are kept.
        process: only the main one opens a file.
    """

    def __init__(
        self, folder: Path, log_dir: Path, net: str, rule: Rule, epochs: int, save_epoch: int, process: Process
    ):
        from torch.utils.tensorboard import SummaryWriter

        self.folder, self.net, self.rule, self.epochs, self.save_epoch = folder, net, rule, epochs, save_epoch
        self.board = SummaryWriter(log_dir) if process.is_main else None
        self.losses: deque[float] = deque(maxlen=EVERY)

    def __enter__(self) -> "RunFiles":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.board is not None:
            self.board.close()

    def on_step(self, batch_size: int, batch: int, loss: float) -> None:
        """Note the loss of batch number `batch` of `batch_size` images in all processes."""
        self.losses.append(loss)
        if batch % EVERY == 0:
            mean = sum(self.losses) / len(self.losses)
            self.board.add_scalar("Train/avg_loss", mean, batch)
            self.board.add_scalar("Train/avg_loss_numpic", mean, batch * batch_size)

    def on_epoch_end(self, model: nn.Module, history: list[Row]) -> None:
        """Note the newest row of `history`, and keep the weights if the rule says so."""
        newest = history[-1]
        tags = {"Train/acc": "train_acc1", "Test/Average loss": "test_loss", "Test/Accuracy": "test_acc1"}
        for tag, key in tags.items():
            self.board.add_scalar(tag, newest[key], newest["epoch"])
        if name := self.rule(history, self.epochs, self.save_epoch):
            save_file(self.folder / f"{self.net}-{name}.pth", model.state_dict(), model)
