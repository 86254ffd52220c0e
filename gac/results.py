"""The original's result files of the CIFAR scripts, under real names."""

import argparse

from torch import nn

from common.files import atomic_path
from common.training.checkpoint import save_file
from gac.flags import file_name


def write_results(args: argparse.Namespace, model: nn.Module, history: list[dict]) -> None:
    """The original's files under real names: the log, and the weights of each new best epoch."""
    lines, best = [], {"test_acc1": -1.0}
    for row in history:
        best = row if row["test_acc1"] > best["test_acc1"] else best
        lines.append(
            f"Epoch:[{row['epoch']}/{args.epochs}] loss={row['train_loss']:.5f} acc={row['train_acc1']:.3f} % "
            f"test acc={row['test_acc1']:.3f} % best acc={best['test_acc1']:.3f} %\n"
        )
    with atomic_path(args.output_dir / f"{file_name(args)}.log") as temporary:
        temporary.write_text("".join(lines))
    if best is history[-1]:
        save_file(args.output_dir / f"{file_name(args)}.pth", model.state_dict(), model)
