"""Figures of a run, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.analysis.event_pictures import to_rgb
from common.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, **settings: object) -> "Figure":
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure  # takes a second, which only those pay who draw

    return Figure(figsize=(width, height), **settings)


def save_figure(figure: "Figure", path: str | Path) -> Path:
    """Write `figure` to `path`, atomically; the suffix chooses the format."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight")
    return Path(path)


def training_curves(history: Sequence[Mapping[str, float]], path: str | Path, title: str) -> Path:
    """Loss and top-1 accuracy per epoch from rows with `epoch`, `{train,test}_loss` and `{train,test}_acc1` (%)."""
    figure = new_figure(9, 3.5)
    epochs = [row["epoch"] for row in history]
    for axes, key, label in zip(figure.subplots(1, 2), ("loss", "acc1"), ("loss", "accuracy (%)"), strict=True):
        for part in ("train", "test"):
            axes.plot(epochs, [row[f"{part}_{key}"] for row in history], marker=".", label=part)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    return save_figure(figure, path)


def firing_rate_chart(rates: Mapping[str, float], path: str | Path, title: str) -> Path:
    """One bar per neuron layer: mean spikes per neuron and time step."""
    return _layer_bars(rates, path, title, "firing rate (spikes per neuron and step)", " %.3f")


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


def event_strip(frames: np.ndarray, path: str | Path, title: str) -> Path:
    """The frames `[T, 2, H, W]` of one sample side by side."""
    figure = new_figure(1.4 * len(frames), 2)
    for t, (axes, frame) in enumerate(zip(figure.subplots(1, len(frames), squeeze=False)[0], frames, strict=True)):
        axes.imshow(to_rgb(frame))
        axes.set_title(f"t = {t}", fontsize=8)
        axes.axis("off")
    figure.suptitle(title)
    return save_figure(figure, path)
