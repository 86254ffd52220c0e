"""Draw your training runs, over the training curves that the authors of Spikingformer published if you like.

    python tools/plot_curves.py output/train/RUN/summary.csv --run cml_spikingformer_4_384_cifar10_400e
    python tools/plot_curves.py output/log.csv --format pdf --output figures/curves
    python tools/plot_curves.py --list

Any run's log.csv will do in place of a summary.csv, of classifiers, detectors and segmentors. The picture is as wide as
a column of text; a star marks the best epoch of each of your runs, and a dotted line chance.
"""

import argparse
import csv
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from pathlib import Path

from common.analysis.figures import COLUMN, FORMATS, MEASURES, draw_chance, new_figure, save_figure
from common.errors import UserError
from common.training import run as run_tool
from common.weights import card_facts
from spikingformer.published import curves
from tools.text import one_of

ACCURACY = MEASURES["acc1"]
TRAINING_LOSS, TEST_LOSS = "training loss", "test loss"
PANELS = {"train_loss": TRAINING_LOSS, "test_loss": TEST_LOSS} | {f"test_{key}": MEASURES[key] for key in MEASURES}
"""{column of a log.csv: panel}."""
SUMMARY = {"eval_loss": TEST_LOSS, "eval_top1": ACCURACY}
"""{column of a summary.csv that a log.csv has under another name: panel}."""
PUBLISHED = {"epoch": "epoch", TRAINING_LOSS: "train_loss", TEST_LOSS: "val_loss", ACCURACY: "top1"}
"""{panel: name in the published points}."""

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
    parser.add_argument("--num-classes", type=int, metavar="N", help="for chance (as the cards of your runs say)")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), help="picture (default: %(default)s)")
    parser.add_argument("--format", choices=FORMATS, help="of the picture (as its name ends)")
    options = parser.parse_args(arguments)
    if options.list:
        for name, run in runs.items():
            print(f"{name}: best top-1 {run['best_top1']} % at epoch {run['best_epoch']}")
        return
    if not options.history and not options.run:
        raise UserError("nothing to draw: name a log.csv or summary.csv, or a published run that --list shows (--run)")
    own = {str(path.parent): read_history(path) for path in options.history}
    classes = [options.num_classes] if options.num_classes else [classes_beside(p.parent) for p in options.history]
    path = options.output.with_suffix(f".{options.format}") if options.format else options.output
    try:
        draw(own, {name: published(runs[name]) for name in options.run}, path, classes)
    except ValueError as error:  # an unknown kind of picture
        raise UserError(f"--output {path}: {error}; choose a name that ends in .png") from error
    print(f"figure: {path}")


def read_history(path: Path) -> Curves:
    """The columns of a `log.csv` or `summary.csv` by panel, and "epoch".

    Raises:
        UserError: it cannot be read, or has none of the columns.
    """
    try:
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        first = 0 if "eval_top1" in rows[0] else 1  # summary.csv counts epochs from 0, log.csv from 1
        known = {column: panel for column, panel in (PANELS | SUMMARY).items() if column in rows[0]}
        found = {"epoch": [float(row["epoch"]) - first for row in rows]}
        found |= {panel: [float(row[column]) for row in rows] for column, panel in known.items()}
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as a log.csv or summary.csv ({error!r}); name the one that a run has written"
        ) from error
    if len(found) == 1:
        raise UserError(f"{path}: has neither losses nor accuracies; name the log.csv or summary.csv of a run")
    return found


def classes_beside(folder: Path) -> int | None:
    """How many classes the cards of the weights in the folder of a run name."""
    return max((len(card_facts(card).get("classes", ())) for card in folder.glob("*.json")), default=0) or None


def published(run: Mapping[str, Sequence[Mapping[str, float]]]) -> Curves:
    """The points of a published run by panel, and "epoch"."""
    return {panel: [point[name] for point in run["points"]] for panel, name in PUBLISHED.items()}


def measure(run: Curves) -> str | None:
    """The panel by which the best epoch of a run is chosen."""
    return next((panel for panel in MEASURES.values() if panel in run), None)


def best_epoch(run: Curves) -> tuple[float, float, str]:
    """The first epoch with the best test result, that result, and both in words; of a pretraining there is none."""
    panel = measure(run)
    if panel is None:
        return nan, nan, ""
    best = run[panel].index(max(run[panel]))
    epoch, result = run["epoch"][best], run[panel][best]
    return epoch, result, f", best {result:.2f} % at {epoch:g}"


def draw(
    own: Mapping[str, Curves], authors: Mapping[str, Curves], path: Path, classes: Iterable[int | None] = ()
) -> None:
    """A panel per quantity that a run has, over the epochs: yours as lines, the authors' dashed.

    A star marks the best epoch of each of yours; for each number of `classes` the accuracy has a line at chance.
    """
    runs = {f"published: {label}": (run, "--o", 2) for label, run in authors.items()}
    runs |= {f"{label}{best_epoch(run)[2]}": (run, "-o", 3) for label, run in own.items()}
    panels = [panel for panel in PANELS.values() if any(panel in run for run, *_ in runs.values())]
    figure = new_figure(COLUMN, 1.5 * len(panels) + 0.14 * len(runs) + 0.3, layout="constrained")
    for axes, panel in zip(figure.subplots(len(panels), sharex=True, squeeze=False).flat, panels, strict=True):
        for number, (label, (run, style, size)) in enumerate(runs.items()):
            if panel in run:
                look = {"color": f"C{number % 10}", "linewidth": 1, "markersize": size}
                axes.plot(run["epoch"], run[panel], style, **look, label=label)
            if panel == measure(run) and number >= len(authors):
                axes.plot(*best_epoch(run)[:2], "*", color=f"C{number % 10}", markersize=9)
        if panel == ACCURACY:
            for count in sorted({*classes} - {None}):
                draw_chance(axes, count)
        axes.set_ylabel(panel, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(alpha=0.3)
    axes.set_xlabel("epoch, counted from 0", fontsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines if line.get_label()[0] != "_"}
    figure.legend(lines.values(), lines, loc="outside lower center", fontsize=6.5)
    save_figure(figure, path)


if __name__ == "__main__":
    run_tool(main)
