"""Pictures of samples: a strip and an animation of each recording, and one overview of them all."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from common.analysis.event_pictures import save_gif, to_rgb
from common.analysis.figures import event_strip, new_figure, save_figure
from common.conversion.cache import EVENTS
from common.conversion.view import Entry, View
from common.errors import UserError
from common.events.frames import frames_by_number

STRIP = 16
"""Frames of a strip at most."""
SIDE = 256
"""Rows of an animation about."""


def choose(views: Sequence[View], T: int | None) -> View:
    """The view to draw: frames that there are, or what T frames can be cut from.

    Raises:
        UserError: no frames of T and no events to cut.
    """
    framed = [view for view in views if view.stage.startswith("frames_number_")]
    if not framed:
        return views[0]
    if T is None:
        return framed[0]
    matching = [view for view in views if view.stage.startswith(f"frames_number_{T}_") or view.stage == EVENTS]
    if not matching:
        raise UserError(f"-T {T}: there are no events to cut, only {', '.join(view.stage for view in framed)}")
    return matching[-1]


def spread(entries: Sequence[Entry], count: int) -> list[Entry]:
    """`count` samples of classes as different as possible, always the same ones."""
    ordered = sorted(entries, key=lambda entry: (entry.category, entry.path, entry.index or 0))
    places = np.linspace(0, len(ordered), min(count, len(ordered)), endpoint=False)
    return [ordered[int(place)] for place in places]


def draw(
    view: View, count: int, T: int, folder: Path, class_name: Callable[[str], str], kind: str = "png"
) -> list[Path]:
    """Write pictures of `count` samples to `folder` and return their paths.

    Recordings get a strip `<sample>.png` of up to 16 frames and an animation `<sample>.gif` each; all samples together
    are in `overview.png`, recordings with their frames added up.

    Args:
        view: what to draw.
        count: number of samples.
        T: frames to cut from a recording that is kept as events.
        folder: where to write.
        class_name: what a class folder means.
        kind: of the pictures; animations are GIF.

    Raises:
        UserError: a damaged sample, or a folder that cannot be written.
    """
    written, overview = [], []
    for entry in spread(view.entries, count):
        title = f"{class_name(entry.category)} {f'({entry.part})' * bool(entry.part)}".strip()
        sample = (view.show or view.read)(entry)
        if sample.ndim == 3:
            overview.append((title, sample))
            continue
        frames = sample if sample.dtype.names is None else _cut(sample, T)
        stem = re.sub(r"[^\w.-]+", "_", view.name(entry).removesuffix(entry.path.suffix))
        shown = frames[np.linspace(0, len(frames), min(STRIP, len(frames)), endpoint=False).astype(int)]
        written.append(event_strip(shown, folder / f"{stem}.{kind}", f"{title}: {view.name(entry)}"))
        written.append(save_gif(frames, folder / f"{stem}.gif", zoom=max(1, SIDE // frames.shape[2])))
        overview.append((title, to_rgb(_summed(frames))))
    return [*written, _grid(overview, folder / f"overview.{kind}", view.stage)]


def _cut(events: np.ndarray, T: int) -> np.ndarray:
    height, width = (int(events[axis].max(initial=0)) + 1 for axis in "yx")
    return frames_by_number(events, T, height, width)


def _summed(frames: np.ndarray) -> np.ndarray:
    """All frames added up; the brightest hundredth, hot pixels among it, does not set the scale."""
    total = frames.sum(0)
    return np.minimum(total, np.quantile(total[total > 0], 0.99)) if total.any() else total


def _grid(pictures: Sequence[tuple[str, np.ndarray]], path: Path, title: str) -> Path:
    columns = min(len(pictures), 8)
    rows = -(-len(pictures) // columns)
    figure = new_figure(1.6 * columns + 0.5, 1.9 * rows + 0.4, layout="constrained")
    figure.suptitle(title, fontsize=8)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels:
        panel.axis("off")
    for panel, (name, picture) in zip(panels, pictures, strict=False):
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(name, fontsize=7)
    return save_figure(figure, path)
