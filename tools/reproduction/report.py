"""The report: what is counted now, what was published, what the reader's runs reached, and what follows from it."""

import csv
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby
from pathlib import Path

from common.analysis.figures import COLUMN, new_figure, save_figure
from common.files import atomic_path, make_folder
from spikingformer.published import curves
from tools.doctor import examine
from tools.networks import number_of_classes
from tools.plot_curves import classes_beside, draw, measure, published
from tools.reproduction import counts
from tools.reproduction.blocks import energy_grid
from tools.reproduction.document import Element, Grid, Heading, Picture, Text, markdown, web_page
from tools.reproduction.evidence import fixtures, outcomes, status
from tools.reproduction.plan import NOT_KNOWN, figure, hours, origin, percent
from tools.reproduction.runs import Run, find_runs, spread
from tools.reproduction.tables import Row, Table, claims, tables

NONE = "-"


def write_report(folder: Path, run_folders: Iterable[Path], junit: Path | None) -> list[Path]:
    """Write `report.md`, `report.html` and their pictures and tables to `folder`; returns the two documents."""
    runs = find_runs(run_folders)
    results = outcomes(junit) if junit else None
    make_folder(folder)
    document: list[Element] = [
        Heading("Reproduction report", 1),
        Text(f"Written on {date.today()} by `python tools/reproduce.py report`."),
        *established(),
        *accuracy(runs),
        *training_curves(runs, folder),
        *parameter_section(),
        *operation_section(folder),
        *rate_section(runs),
        *energy_section(),
        *parity_section(results),
        *environment(),
    ]
    paths = [folder / "report.md", folder / "report.html"]
    for path, text in zip(paths, (markdown(document), web_page(document)), strict=True):
        with atomic_path(path) as temporary:
            temporary.write_text(text)
    return paths


def every_row() -> Iterator[tuple[Table, Row]]:
    """All rows with their tables."""
    return ((table, row) for table in tables().values() for row in table.rows)


def folded(lines: Iterable[tuple[Table, Row, list[str]]]) -> list[list[str]]:
    """Lines of a grid, the rows of a network that say the same in one line."""
    found: dict[tuple[str, ...], list[str]] = {}
    for table, row, cells in lines:
        found.setdefault((table.name, row.network, *cells), []).append(row.method)
    return [
        [name, ", ".join(filter(None, (network, "; ".join(filter(None, methods))))), *cells]
        for (name, network, *cells), methods in found.items()
    ]


def established() -> Iterator[Element]:
    """Claims and what stands behind them; what is open and why."""
    yield Heading("What is established")
    yield Grid(("claim", "how"), [list(claim.values()) for claim in claims()["established"]])
    yield Heading("What is not")
    yield Grid(("claim", "why"), [list(claim.values()) for claim in claims()["open"]])


def accuracy(runs: list[Run]) -> Iterator[Element]:
    """Accuracies of the given runs beside the published ones, and all rows without a run."""
    yield Heading("Accuracy")
    yield Text(
        "The last epoch is chosen before training. The best epoch is chosen by its test accuracy, as the papers do, so "
        "its figure is too good: compare it with published figures, and trust the last."
    )
    groups = [(row, list(group)) for row, group in groupby(sorted(runs, key=_place), lambda run: run.row)]
    if not runs:
        yield Text("No runs were given to this report (`--runs FOLDER`), so no accuracy is established by it.")
    for row, members in groups:
        name = f"{members[0].table.name}: {row.title}" if row else "Runs outside the folders that `plan` names"
        yield Heading(name, 3)
        yield from _runs(row, members)
    header = ("table", "row", "published (%)", "source", "selection", "GPU hours", "status", "runs given", "seeds")
    yield Heading("All rows", 3)
    yield Grid(header, folded((table, row, _row(table, row, runs)) for table, row in every_row()))


def _place(run: Run) -> str:
    return f"{run.table.name}/{run.row.name}" if run.row else ""


def _runs(row: Row | None, members: list[Run]) -> Iterator[Element]:
    lines = []
    for run in members:
        epochs = f"{run.epochs} of {row.epochs}" if row else str(run.epochs)
        best, epoch = run.best
        seed = NOT_KNOWN if run.seed is None else str(run.seed)
        result = (f"{run.last:.2f}", f"{best:.2f} (epoch {epoch})", measure(run.curves))
        lines.append([run.label, seed, epochs, *result])
    header = ("run", "seed", "epochs", "last epoch (%)", "best epoch (%), selected on the test set", "measure")
    yield Grid(header, lines)
    if row is None:
        yield Text("These belong to no row of a table and are compared with nothing.")
        return
    finished = [run for run in members if run.is_finished]
    if not finished:
        yield Text("No run has all epochs of the recipe: nothing follows for the published figure.")
        return
    last, best = spread([run.last for run in finished]), spread([run.best[0] for run in finished])
    yield Text(
        f"{seeds(finished)}; last epoch {last} %, best epoch on the test set {best} %; published "
        f"{figure(row)}, {finished[0].table.selection}."
    )


def seeds(runs: list[Run]) -> str:
    """How many seeds the runs have."""
    count = len({run.seed for run in runs})
    return "1 seed: no spread is known" if count == 1 else f"{count} seeds, mean ± standard deviation"


def _row(table: Table, row: Row, runs: list[Run]) -> list[str]:
    own = [run for run in runs if run.row is row]
    return [
        NOT_KNOWN if row.accuracy is None else percent(row),
        origin(row) or NONE,
        table.selection,
        hours(row),
        status(row),
        str(len(own)),
        str(len({run.seed for run in own if run.is_finished})),
    ]


def training_curves(runs: list[Run], folder: Path) -> Iterator[Element]:
    """The authors' curves, with the given runs of the same row over them; then the other runs."""
    yield Heading("Training curves")
    yield Text(
        "Dashed: about 25 epochs of each run whose log the authors of Spikingformer published. Lines: yours, with a "
        "star at the best epoch. Dotted: chance."
    )
    published_runs = curves()
    for table in tables().values():
        authors = {row.curve: published(published_runs[row.curve]) for row in table.rows if row.curve}
        own = {run.label: run.curves for run in runs if run.table is table}
        if authors or own:
            path = folder / f"curves-{table.name}.png"
            draw(own, authors, path, [number_of_classes(counts.network(table.rows[0]))])
            yield Picture(path, table.title)
    if others := [run for run in runs if run.table is None]:
        path = folder / "curves-other-runs.png"
        draw({run.label: run.curves for run in others}, {}, path, {classes_beside(run.folder) for run in others})
        yield Picture(path, "other runs")


def parameter_section() -> Iterator[Element]:
    """Parameters counted now beside those of the papers and of the original code."""
    lines = []
    for table, row in every_row():
        here = counts.parameters(row)
        original = NOT_KNOWN if row.original is None else f"{row.original:,}"
        differs = NONE if row.original is None else f"{here - row.original:+,}" if here != row.original else "equal"
        paper = NOT_KNOWN if row.parameters is None else f"{row.parameters} M"
        share = NONE if row.parameters is None else f"{100 * (here / (1e6 * row.parameters) - 1):+.2f} %"
        lines.append((table, row, [paper, share, original, differs, f"{here:,}"]))
    yield Heading("Parameters")
    yield Text(
        "Counted now; of the original code where it was run or its log read. Spikingformer's papers leave out the "
        "LayerNorms that the networks hold and never use; SDT V3 rounds."
    )
    header = ("table", "row", "paper", "here over paper", "original code", "here minus original", "here")
    yield Grid(header, folded(lines))


def operation_section(folder: Path) -> Iterator[Element]:
    """Operations of each network; `operations/` has a file per row with its layers."""
    lines, totals = [], {}
    for table, row in every_row():
        layers = counts.operations(row)
        total = f"{sum(count for *_, count in layers) / 1e9:.3f}"
        totals.setdefault((table.name, row.network, total[:-1]), row.title)  # methods that hardly differ share a bar
        where = folder / "operations" / f"{table.name}-{row.name}.csv"
        with atomic_path(where) as temporary, temporary.open("w", newline="") as stream:
            csv.writer(stream).writerows([("layer", "kind", "operations"), *layers])
        share, number = counts.on_real_numbers(row) if row.measured else (None, None)
        real = NONE if share is None else f"{100 * share:.2f} % in {number} of {len(layers)} layers"
        lines.append((table, row, [" x ".join(map(str, counts.network(row).layout.shape())), total, real]))
    path = folder / "operations.png"
    _bars({f"{name}: {title}": float(total) for (name, _, total), title in totals.items()}, path)
    yield Heading("Operations")
    yield Text(
        "Products of convolutions, linear layers and attention for one sample, all time steps together. They follow "
        "from shapes; `operations/` has them by layer. On spikes a product is an addition, made only where one is."
    )
    yield Text(
        "Which layers get real numbers was measured on one network per paper with random weights and input: that is "
        "structure. Firing rates need trained weights, so there are none here."
    )
    yield Grid(("table", "row", "input", "operations (G)", "on real numbers"), folded(lines))
    yield Picture(path, "operations per network")


def _bars(totals: dict[str, float], path: Path) -> None:
    figure = new_figure(1.4 * COLUMN, 0.15 * len(totals) + 0.5, layout="constrained")
    axes = figure.subplots()
    axes.barh(list(totals), list(totals.values()))
    axes.invert_yaxis()
    axes.tick_params(labelsize=6)
    axes.set_xscale("log")
    axes.set_xlabel("operations for one sample (G)", fontsize=7)
    axes.grid(axis="x", alpha=0.3)
    axes.margins(y=0.01)
    save_figure(figure, path)


def rate_section(runs: list[Run]) -> Iterator[Element]:
    """Published firing rates and energies beside those that the given runs left."""
    lines = []
    for table, row in every_row():
        measured = [[run.label, *_measured(run)] for run in runs if run.row is row]
        if row.rate is row.energy is None and not any(figure is not None for _, *both in measured for figure in both):
            continue
        figures = [str(value) if value is not None else NOT_KNOWN for value in (row.rate, row.energy)]
        sources = "; ".join(filter(None, dict.fromkeys((row.rate_source, row.energy_source)))) or NONE
        for label, rate, millijoules in measured or [[NONE, None, None]]:
            shown = [NONE if value is None else f"{value:.4g}" for value in (rate, millijoules)]
            lines.append([table.name, row.title, *figures, sources, *shown, label])
    yield Heading("Firing rates and energies")
    yield Text(
        "Published figures belong to the authors' weights. Beside them stands what the given runs left: the mean of "
        "`firing_rates.csv`, and the sum of a table of `tools/energy.py` in the same folder. **They are of different "
        "weights**, and with `--tiny` of another network and other data: they show how a figure is made, not that it "
        "is reached."
    )
    header = ("table", "row", "published rate", "published mJ", "source", "rate here", "mJ here", "run")
    yield Grid(header, lines)


def _measured(run: Run) -> tuple[float | None, float | None]:
    """Mean firing rate and energy in mJ from the files in the folder of a run."""
    rate = millijoules = None
    for path in sorted(run.folder.glob("*.csv")):
        with path.open() as stream:
            rows = list(csv.DictReader(stream))
        if rows and path.name == "firing_rates.csv":
            rate = sum(float(row["rate"]) for row in rows) / len(rows)
        elif rows and "millijoules" in rows[0]:
            millijoules = sum(float(row["millijoules"]) for row in rows if row["counted"] == "True")
    return rate, millijoules


def energy_section() -> Iterator[Element]:
    """Energies that follow from the published logs."""
    yield Heading("Energy")
    yield Text(
        "E = 4.6 pJ * MAC + 0.9 pJ * AC over convolutions, head and attention, from the operation counts and firing "
        "rates in the authors' logs. Spikingformer's README prints 7.46 and 13.68 mJ. The other papers published no "
        "log. No energy was measured."
    )
    yield energy_grid()


def parity_section(results: dict | None) -> Iterator[Element]:
    """Fixtures per paper and kind, and how the tests of the paper ended."""
    kinds = list(dict.fromkeys(fixture.kind for fixture in fixtures()))
    papers = list(dict.fromkeys(fixture.paper for fixture in fixtures()))
    found = [(fixture.paper, fixture.kind) for fixture in fixtures()]
    lines = [[paper, *(str(found.count((paper, kind))) for kind in kinds)] for paper in papers]
    yield Heading("Parity with the original code")
    yield Text("Files in `tests/parity`, each computed by the original code in float64.")
    yield Grid(("paper", *kinds), lines)
    if results is None:
        yield Text("The tests were not run in this report: add `--junit FILE` of `pytest --junit-xml=FILE`.")
        return
    outcomes_of = [
        [name, *(str(count[word]) for word in ("passed", "failed", "skipped"))] for name, count in results.items()
    ]
    yield Grid(("tests of", "passed", "failed", "skipped"), outcomes_of)


def environment() -> Iterator[Element]:
    """What wrote this report."""
    yield Heading("Environment")
    yield Text("Of this report; a run may have had another.")
    found = examine(quick=True)
    parts = ("versions", "processor", "cuda", "neuron backend", "neurons on CPU tensors")
    yield Grid(("", "", ""), [[part, name, text] for part in parts for name, text in found[part].items()])
