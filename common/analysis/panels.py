"""Grids of heat maps and bars in one figure, drawn without a display."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.analysis.figures import new_figure, save_figure

SPACE = ("y", "x")


@dataclass(frozen=True)
class Panel:
    """One part of a figure: a matrix `[rows, columns]` as a heat map, or a series `[n]` as bars."""

    title: str
    values: np.ndarray
    axes: tuple[str, str]
    """What rows and columns are; for a series, its height and its position."""

    def turned(self) -> "Panel":
        """The panel with x and y exchanged if it is a map of space, else as it is."""
        return replace(self, values=self.values.T) if self.axes == SPACE else self


def draw_panels(
    panels: Sequence[Panel], path: str | Path, title: str, *, colours: str = "viridis", from_zero: bool = False
) -> Path:
    """Write all panels to one figure, row by row, each heat map with a colour bar of its own.

    `colours` names a colour map of matplotlib; its first colour is 0 if `from_zero`, else the smallest value.
    """
    columns = min(len(panels), 6)
    rows = -(-len(panels) // columns)
    figure = new_figure(3 * columns, 2.4 * rows + 0.5, layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for panel, axes in zip(panels, grid, strict=False):
        if panel.values.ndim == 1:
            axes.bar(range(len(panel.values)), panel.values, width=1.0)
        else:
            aspect = "equal" if panel.axes == SPACE else "auto"
            limits = {"vmin": 0, "vmax": panel.values.max() or 1} if from_zero else {}
            image = axes.imshow(panel.values, aspect=aspect, interpolation="nearest", cmap=colours, **limits)
            figure.colorbar(image, ax=axes).ax.tick_params(labelsize=6)
        axes.set_title(panel.title, fontsize=7)
        axes.set_ylabel(panel.axes[0], fontsize=7)
        axes.set_xlabel(panel.axes[1], fontsize=7)
        axes.tick_params(labelsize=6)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in list(grid):
        axes.axis("off")
    return save_figure(figure, path)
