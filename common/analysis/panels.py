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
    panels: Sequence[Panel],
    path: str | Path,
    title: str,
    *,
    colours: str = "viridis",
    from_zero: bool = False,
    ticks: bool = False,
) -> Path:
    """Write all panels to one figure, row by row, each heat map with a colour bar of its own.

    `colours` names a colour map of matplotlib; its first colour is 0 if `from_zero`, and a panel of zeros then says so,
    else the smallest value. With `ticks` a matrix of 0 and 1 is a raster of black ticks, without a colour bar.
    """
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure = new_figure(max(1.8 * columns, 3), 1.6 * rows + 0.4, layout="constrained")
    figure.suptitle(title, fontsize=8)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for panel, axes in zip(panels, grid, strict=False):
        binary = panel.values.ndim == 2 and panel.axes != SPACE and set(np.unique(panel.values)) <= {0, 1}
        if from_zero and not panel.values.any():
            axes.text(0.5, 0.5, "no spike", ha="center", va="center", fontsize=6, transform=axes.transAxes)
            axes.set(xlim=(-0.5, panel.values.shape[-1] - 0.5), yticks=[])
        elif ticks and binary:
            neurons, steps = panel.values.nonzero()
            axes.vlines(steps, neurons - 0.4, neurons + 0.4, colors="black", linewidth=1.5)
            axes.set(xlim=(-0.5, panel.values.shape[1] - 0.5), ylim=(len(panel.values) - 0.5, -0.5))
        elif panel.values.ndim == 1:
            axes.bar(range(len(panel.values)), panel.values, width=1.0)
        else:
            aspect = "equal" if panel.axes == SPACE else "auto"
            limits = {"vmin": 0, "vmax": panel.values.max() or 1} if from_zero else {}
            image = axes.imshow(panel.values, aspect=aspect, interpolation="nearest", cmap=colours, **limits)
            figure.colorbar(image, ax=axes).ax.tick_params(labelsize=5)
        axes.set_title(panel.title, fontsize=6)
        axes.set_ylabel(panel.axes[0], fontsize=6)
        axes.set_xlabel(panel.axes[1], fontsize=6)
        axes.tick_params(labelsize=5)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    for axes in list(grid):
        axes.axis("off")
    return save_figure(figure, path)
