"""What a person reads of an energy count: totals, a table and a chart."""

import csv
from collections.abc import Sequence
from pathlib import Path

from common.analysis.energy import Energy, Formula, energy
from common.analysis.figures import energy_chart
from common.analysis.operations import LayerOperations
from common.files import atomic_path


def energy_report(
    layers: Sequence[LayerOperations], formula: Formula, folder: str | Path, name: str, kind: str = "png"
) -> Energy:
    """Write `<name>.csv` and `<name>.<kind>` to `folder`, print the totals of one inference and return them."""
    rows, total = energy_table(layers, formula), energy(layers, formula)
    table, figure = Path(folder) / f"{name}.csv", Path(folder) / f"{name}.{kind}"
    with atomic_path(table) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    bars = {row["layer"]: 1000 * row["millijoules"] for row in rows if row["counted"]}
    energy_chart(bars, figure, f"{name}: {total.millijoules:.4f} mJ")
    print(f"MAC {total.mac / 1e9:.6f} G, AC {total.ac / 1e9:.6f} G per sample: {total.millijoules:.4f} mJ")
    print(f"layers: {table}, figure: {figure}")
    return total


def energy_table(layers: Sequence[LayerOperations], formula: Formula) -> list[dict]:
    """One row per layer; `counted` says whether the formula includes it."""
    return [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "operations": layer.operations,
            "mac": layer.mac,
            "ac": layer.ac,
            "rate": " ".join(f"{rate:.6g}" for rate in layer.rates),
            "input": "dense" if layer.dense else "spikes",
            "counted": layer.kind in formula.kinds,
            "millijoules": energy([layer], formula).millijoules,
        }
        for layer in layers
    ]
