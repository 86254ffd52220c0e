"""Draw your training runs over the training curves that the authors of Spikingformer published.

    python tools/plot_curves.py output/train/RUN/summary.csv --run cml_spikingformer_4_384_cifar10_400e
    python tools/plot_curves.py --list

Any run's log.csv will do in place of a summary.csv.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.analysis.figures import new_figure, save_figure
from common.errors import UserError
from common.training import run as run_tool
from spikingformer.published import curves
from tools.text import one_of

ACCURACY = "top-1 accuracy (%)"
PANELS = {
    "training loss": ("train_loss", "train_loss", "train_loss"),
    "test loss": ("test_loss", "eval_loss", "val_loss"),
    ACCURACY: ("test_acc1", "eval_top1", "top1"),
}
"""{panel: (column of a log.csv, column of a summary.csv, name in the published points)}."""

Curves = dict[str, list[float]]
""""epoch", counted from 0 as the authors do, and the panels that a run has."""


def main(arguments: list[str] | None = None) -> None:
    """Draw as the command line says.

    Raises:
        UserError: there is nothing to draw, or a table that cannot be read.
    """
    runs = curves()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("history", type=Path, nargs="*", help="log.csv or summary.csv of your runs")
    parser.add_argument("--run", nargs="+", type=one_of(runs), default=[], metavar="NAME", help="published runs")
    parser.add_argument("--list", action="store_true", help="name the published runs and their best accuracy")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), help="picture (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.list:
        for name, run in runs.items():
            print(f"{name}: best top-1 {run['best_top1']} % at epoch {run['best_epoch']}")
        return
    if not options.history and not options.run:
        raise UserError("nothing to draw: name a log.csv or summary.csv, or a published run that --list shows (--run)")
    own = {str(path.parent): read_history(path) for path in options.history}
    try:
        draw(own, {name: published(runs[name]) for name in options.run}, options.output)
    except ValueError as error:  # an unknown kind of picture
        raise UserError(f"--output {options.output}: {error}; choose a name that ends in .png") from error
    print(f"figure: {options.output}")


def read_history(path: Path) -> Curves:
    """The columns of a `log.csv` or `summary.csv` by panel, and "epoch".

    Raises:
        UserError: it cannot be read, or has none of the columns.
    """
    try:
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        first = 0 if "eval_top1" in rows[0] else 1  # summary.csv counts epochs from 0, log.csv from 1
        found = {"epoch": [float(row["epoch"]) - first for row in rows]}
        for panel, (log, summary, _) in PANELS.items():
            column = log if log in rows[0] else summary
            if column in rows[0]:
                found[panel] = [float(row[column]) for row in rows]
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as a log.csv or summary.csv ({error!r}); name the one that a run has written"
        ) from error
    if len(found) == 1:
        raise UserError(f"{path}: has neither losses nor accuracies; name the log.csv or summary.csv of a run")
    return found


def published(run: Mapping[str, Sequence[Mapping[str, float]]]) -> Curves:
    """The points of a published run by panel, and "epoch"."""
    names = {"epoch": "epoch"} | {panel: name for panel, (*_, name) in PANELS.items()}
    return {panel: [point[name] for point in run["points"]] for panel, name in names.items()}


def draw(own: Mapping[str, Curves], authors: Mapping[str, Curves], path: Path) -> None:
    """One panel per quantity over the epochs: yours as lines, the authors' as dashed lines with a dot per point."""
    figure = new_figure(13, 3.8)
    for axes, panel in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for label, run in authors.items():
            axes.plot(run["epoch"], run[panel], "--o", markersize=3, label=f"published: {label}")
        for label, run in own.items():
            if panel in run:
                axes.plot(run["epoch"], run[panel], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=panel)
        axes.grid(alpha=0.3)
    figure.subplots_adjust(wspace=0.25)
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    figure.legend(lines.values(), lines, loc="upper center", bbox_to_anchor=(0.5, 0), fontsize=8, ncols=2)
    save_figure(figure, path)


if __name__ == "__main__":
    run_tool(main)
