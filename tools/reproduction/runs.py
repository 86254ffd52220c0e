"""Training runs of the reader: their curves, and the row of a table that each belongs to."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from common.errors import UserError
from tools.plot_curves import Curves, best_epoch, measure, read_history
from tools.reproduction.tables import Row, Table, tables


@dataclass(frozen=True)
class Run:
    """One training run; `table`, `row` and `seed` are known if a command of `reproduce.py plan` named its folder."""

    label: str
    folder: Path
    curves: Curves
    table: Table | None = None
    row: Row | None = None
    seed: int | None = None

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return int(self.curves["epoch"][-1]) + 1

    @property
    def is_finished(self) -> bool:
        """Whether it has all epochs of the published recipe."""
        return self.row is not None and self.epochs >= self.row.epochs

    @property
    def last(self) -> float:
        """Test result of the last epoch, in percent."""
        return self.curves[measure(self.curves)][-1]

    @property
    def best(self) -> tuple[float, int]:
        """Highest test result, in percent, and its epoch counted from 1: it is selected on the test set."""
        epoch, highest, _ = best_epoch(self.curves)
        return highest, int(epoch) + 1


def find_runs(folders: Iterable[Path]) -> list[Run]:
    """Every run with results of a test set in or below the folders.

    Raises:
        UserError: a folder without any, or a table that cannot be read.
    """
    runs = []
    for folder in folders:
        files = {path.parent: path for name in ("summary.csv", "log.csv") for path in sorted(folder.rglob(name))}
        if not files:
            raise UserError(f"{folder}: no log.csv or summary.csv in it or below it; name the output folder of a run")
        runs += [_run(path) for path in files.values()]
    return [run for run in runs if measure(run.curves)]


def _run(path: Path) -> Run:
    curves = read_history(path)
    known = {f"{table.name}/{row.name}": (table, row) for table in tables().values() for row in table.rows}
    # The last step of a row is the one whose accuracy the row reports.
    found = re.search(r"([^/]+/[^/]+)/seed(\d+)(?:/(.*))?$", path.resolve().parent.as_posix())
    if not found or found[1] not in known:
        return Run(path.parent.as_posix(), path.parent, curves)
    table, row = known[found[1]]
    if row.steps[-1].folder and row.steps[-1].folder != found[3]:
        return Run(f"{row.title}, {found[3]}", path.parent, curves)
    return Run(f"{row.title}, seed {found[2]}", path.parent, curves, table, row, int(found[2]))


def spread(values: list[float]) -> str:
    """`mean +- standard deviation`, or the value if there is one."""
    return f"{mean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}"
