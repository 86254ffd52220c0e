"""Figures of a run, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "pdf", "svg")
"""Kinds of pictures."""
COLUMN = 3.5
"""Inches across a column of text."""
MEASURES = {
    "acc1": "top-1 accuracy (%)",
    "bbox_mAP": "AP of boxes (%)",
    "segm_mAP": "AP of masks (%)",
    "mIoU": "mean IoU (%)",
}
"""{a number of the test set: its axis}; the first that a run has chooses its best epoch."""

ON, OFF = (200, 30, 30), (30, 70, 200)
"""Colours of the events on paper."""


def new_figure(width: float, height: float, **settings: object) -> "Figure":
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure  # takes a second, which only those pay who draw

    return Figure(figsize=(width, height), **settings)


def save_figure(figure: "Figure", path: str | Path) -> Path:
    """Write `figure` to `path`, atomically; the suffix chooses the format."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight")
    return Path(path)


def training_curves(
    history: Sequence[Mapping[str, float]],
    path: str | Path,
    title: str,
    num_classes: int | None = None,
    measure: str = "acc1",
) -> Path:
    """Loss and a `measure` of `MEASURES` per epoch, from rows with `epoch`, `{train,test}_loss` and `test_<measure>`.

    Training has the measure too if the rows do, and the test a loss. The first epoch with the best test measure is
    marked, and chance for `num_classes` if given.
    """
    figure = new_figure(2 * COLUMN, 2.8, layout="constrained")
    epochs = [row["epoch"] for row in history]
    losses, measures = figure.subplots(1, 2)
    for axes, key, label in ((losses, "loss", "loss"), (measures, measure, MEASURES[measure])):
        for part in ("train", "test"):
            if f"{part}_{key}" in history[0]:
                axes.plot(epochs, [row[f"{part}_{key}"] for row in history], marker=".", label=part)
        axes.set(xlabel="epoch", ylabel=label)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
    best = max(history, key=lambda row: row[f"test_{measure}"])
    label = f"best test, {best[f'test_{measure}']:.1f} % at {best['epoch']}"
    measures.plot(best["epoch"], best[f"test_{measure}"], "*", color="black", markersize=9, label=label)
    if num_classes:
        draw_chance(measures, num_classes)
    losses.legend(fontsize=8)
    measures.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    return save_figure(figure, path)


def draw_chance(axes: "Axes", num_classes: int) -> None:
    """A dotted line where guessing among so many classes ends."""
    axes.axhline(100 / num_classes, color="gray", linestyle=":", label=f"chance, {100 / num_classes:.1f} %")


def firing_rate_chart(rates: Mapping[str, float], path: str | Path, title: str) -> Path:
    """One bar per neuron layer: mean spikes per neuron and time step."""
    return _layer_bars(rates, path, title, "firing rate (spikes per neuron and step)", " %.1e")


def energy_chart(microjoules: Mapping[str, float], path: str | Path, title: str) -> Path:
    """One bar per layer: energy of one inference in microjoules."""
    return _layer_bars(microjoules, path, title, "energy per inference (\u00b5J)", " %.3g")


def _layer_bars(values: Mapping[str, float], path: str | Path, title: str, label: str, number: str) -> Path:
    figure = new_figure(7, 0.28 * len(values) + 1)
    axes = figure.subplots()
    bars = axes.barh(list(values), list(values.values()))
    axes.bar_label(bars, fmt=number, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel=label, title=title)
    return save_figure(figure, path)


def event_strip(
    frames: np.ndarray, path: str | Path, title: str, times: Sequence[float] | None = None, columns: int = 8
) -> Path:
    """The frames `[T, 2, H, W]` of one sample, `columns` side by side: ON red, OFF blue, on white.

    `times` are the T + 1 borders of the frames in ms after the first event; without them frames have their number.
    """
    from matplotlib.patches import Patch

    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    height = rows * (0.9 * frames.shape[2] / frames.shape[3] + 0.15) + 0.5
    figure = new_figure(max(0.9 * columns, 1.8), height, layout="constrained")
    for t, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if t < len(frames):
            axes.imshow(on_white(frames[t]), interpolation="nearest")
            name = f"t = {t}" if times is None else f"{times[t]:.4g} to {times[t + 1]:.4g} ms"
            axes.set_title(name, fontsize=6, pad=2)
    figure.suptitle(title, fontsize=8)
    handles = [Patch(color=np.divide(colour, 255), label=name) for name, colour in (("ON", ON), ("OFF", OFF))]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    return save_figure(figure, path)


def on_white(frame: np.ndarray) -> np.ndarray:
    """Counts `[2, H, W]` (OFF, ON) as a picture `[H, W, 3]` of uint8 for paper: from half to full colour by count."""
    frame = np.asarray(frame, dtype=np.float64)
    strength = np.where(frame > 0, 0.5 + 0.5 * frame / max(frame.max(), 1), 0)
    off, on = strength[..., None]
    ink = on * (255 - np.array(ON)) + off * (255 - np.array(OFF))
    return (255 - ink).clip(0).astype(np.uint8)


def confusion_map(matrix: np.ndarray, names: Sequence[str], path: str | Path, title: str) -> Path:
    """How classes (rows) are taken for others (columns), in percent of each row; written out up to 20 classes."""
    classes = len(matrix)
    share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = min(max(3.2, 0.42 * classes + 1.6), 9)
    figure = new_figure(side + 0.9, side, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, vmin=0, vmax=100, cmap="Blues", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the class (%)", shrink=0.8)
    axes.set(xlabel="taken for", ylabel="class", title=title)
    if classes <= 40:
        axes.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=8)
        axes.set_yticks(range(classes), names, fontsize=8)
    if classes <= 20:
        for (row, column), value in np.ndenumerate(share):
            if matrix[row, column]:
                colour = "white" if value > 50 else "black"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    return save_figure(figure, path)
