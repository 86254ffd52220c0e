"""Draws your training run over the training curves that the authors of Spikingformer published.

python tools/plot_curves.py output/train/RUN/summary.csv --run cml_spikingformer_4_384_cifar10_400e
python tools/plot_curves.py --list
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from common.analysis.figures import save_figure
from common.errors import UserError
from spikingformer.published import curves

PANELS = {
    "training loss": ("train_loss", "train_loss"),
    "test loss": ("eval_loss", "val_loss"),
    "top-1 accuracy (%)": ("eval_top1", "top1"),
}
"""{panel: (column of a summary.csv, name in the published points)}."""

Curves = dict[str, list[float]]


def main(arguments: list[str] | None = None) -> int:
    """Draw as the command line says; returns the exit status."""
    runs = curves()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("summary", type=Path, nargs="*", help="summary.csv of your runs")
    parser.add_argument("--run", nargs="+", choices=runs, default=[], metavar="NAME", help="published runs")
    parser.add_argument("--list", action="store_true", help="name the published runs and their best accuracy")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), help="picture (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.list:
        for name, run in runs.items():
            print(f"{name}: best top-1 {run['best_top1']} % at epoch {run['best_epoch']}")
        return 0
    if not options.summary and not options.run:
        parser.error("name a summary.csv, a published run (--run), or both; --list shows the published runs")
    try:
        own = {str(path.parent): read_summary(path) for path in options.summary}
        draw(own, {name: published(runs[name]) for name in options.run}, options.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"figure: {options.output}")
    return 0


def read_summary(path: Path) -> Curves:
    """The columns of a `summary.csv` by panel, and "epoch".

    Raises:
        UserError: it cannot be read, or lacks a column.
    """
    columns = {"epoch": "epoch"} | {panel: column for panel, (column, _) in PANELS.items()}
    try:
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        return {name: [float(row[column]) for row in rows] for name, column in columns.items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as a summary.csv with the columns {', '.join(columns.values())} ({error!r})"
        ) from error


def published(run: Mapping[str, Sequence[Mapping[str, float]]]) -> Curves:
    """The points of a published run by panel, and "epoch"."""
    names = {"epoch": "epoch"} | {panel: name for panel, (_, name) in PANELS.items()}
    return {panel: [point[name] for point in run["points"]] for panel, name in names.items()}


def draw(own: Mapping[str, Curves], authors: Mapping[str, Curves], path: Path) -> None:
    """One panel per quantity over the epochs: yours as lines, the authors' as dashed lines with a dot per point."""
    figure = Figure(figsize=(13, 3.8))
    for axes, panel in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for label, run in authors.items():
            axes.plot(run["epoch"], run[panel], "--o", markersize=3, label=f"published: {label}")
        for label, run in own.items():
            axes.plot(run["epoch"], run[panel], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel=panel)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, 0), fontsize=8, ncols=2)
    save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main())
