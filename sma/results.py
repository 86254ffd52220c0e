"""The original's result files of the VGG8 scripts."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from common.analysis.firing_rates import firing_rates
from common.files import atomic_path
from common.training.checkpoint import save_file
from common.training.record import Board


def weights_path(output_dir: Path, script: str) -> Path:
    """Where the weights of the best test epoch go."""
    return output_dir / f"{script}_max.pt"


def write_results(
    output_dir: Path,
    script: str,
    test_loader: DataLoader,
    epochs: int,
    board: Board,
    model: nn.Module,
    history: list[dict],
) -> None:
    """The original's files: accuracy and loss arrays, and at each new best the firing rates and the weights.

    Rates are tensors without axes, and the names of their neurons those in a parallel wrapper, `module.*`, as the
    authors' plotting code reads them. The `board` has their tags, accuracies from 0 to 1.
    """
    columns = {"train_acc": "train_acc1", "test_acc": "test_acc1", "loss": "train_loss", "test_loss": "test_loss"}
    for name, key in columns.items():
        scale = 0.01 if key.endswith("acc1") else 1.0
        with atomic_path(output_dir / f"{script}_{name}.npy") as temporary:
            np.save(temporary, np.array([scale * row[key] for row in history]))
    newest = history[-1]
    accuracies = {part: newest[f"{part}_acc1"] / 100 for part in ("train", "test")}
    board.add(newest["epoch"], train_and_test_accuracy=accuracies, loss_epoch=newest["train_loss"])
    new_best = all(newest["test_acc1"] > row["test_acc1"] for row in history[:-1])
    if not new_best and newest["epoch"] < epochs:
        return
    frames, _ = next(iter(test_loader))
    rates = firing_rates(model, frames.to(next(model.parameters()).device))
    folder = output_dir / "spiking_rate" / script
    if new_best:
        save_file(folder / f"spikingrate_epoch{newest['epoch']}.pt", [torch.tensor(rate) for rate in rates.values()])
        save_file(weights_path(output_dir, script), model.state_dict(), model)
    if newest["epoch"] == epochs:
        save_file(folder / "name_list.pt", [f"module.{name}" for name in rates])
