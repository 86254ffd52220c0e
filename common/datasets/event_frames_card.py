"""The card of an `EventFrames` data set: its facts from the class, how it is prepared and looked at."""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from common.conversion import cache
from common.conversion.prepare import Prepared, prepare
from common.conversion.published import Published
from common.conversion.split import FILE, read_split
from common.conversion.view import PARTS, Entry, View, read_inside
from common.datasets.card import DataSet
from common.datasets.event_frames import EventFrames
from common.errors import UserError


def event_frames_card(cls: type[EventFrames], **facts: object) -> DataSet:
    """The card of `cls`, with `facts` that are not in the class."""
    return DataSet.of(
        cls,
        form="frames",
        terms=cls.terms,
        convert=partial(_convert, cls),
        views=partial(frame_views, cls),
        is_published=partial(names_published, cls),
        split_seed=cls.split_seed,
        **facts,
    )


def _convert(cls: type[EventFrames], options: argparse.Namespace) -> Prepared:
    settings = {"downsample": options.downsample, "workers": options.workers, "strict": options.strict}
    settings["skip_missing"] = options.skip_missing
    return prepare(cls, options.source, options.output, options.T, options.split_by, **settings)


def names_published(cls: type[Published], entries: Sequence[Entry]) -> bool:
    """Whether the recordings that samples were cut from are called as in the published set."""
    return cls.is_published_set(Path(entry.recording or entry.path) for entry in entries)


def frame_views(cls: type[EventFrames], root: Path) -> list[View]:
    """Events, if they are there, and the frames of every T.

    Raises:
        UserError: there are neither, a conversion was interrupted, or the stored split is damaged.
    """
    known = cache.facts(root)
    if known and "classes" not in known:
        raise UserError(f"{root}: the conversion to it was interrupted; run the same prepare command again")
    divided = (root / "train_dataset").is_dir()
    base = root / "train_dataset" if divided else root
    names = sorted(path.name for path in base.glob("frames_number_*_split_by_*") if path.is_dir())
    if not divided and (root / cache.EVENTS).is_dir():
        names.insert(0, cache.EVENTS)
    if not names:
        raise UserError(
            f"{root}: neither {cache.EVENTS} nor frames of {cls.name}; make them: python tools/convert_dataset.py "
            f"prepare {cls.name} --source SOURCE --output {root} -T 16"
        )
    size = tuple(known.get("sensor_size", cls.sensor_size))
    views = []
    for stage in names:
        read = partial(read_inside, size, cache.load_events) if stage == cache.EVENTS else _read_frames
        entries = list(_divided(root, stage) if divided else _converted(cls, root, stage))
        views.append(View(stage, root if divided else root / stage, entries, read, uniform=stage != cache.EVENTS))
    return views


def _divided(root: Path, stage: str) -> Iterator[Entry]:
    """The samples of `{train,test}_dataset/<stage>/<class>`."""
    for part in PARTS:
        folder = root / f"{part}_dataset" / stage
        for name in cache.recordings_below(folder):
            yield Entry(part, name.parent.name, folder / name, f"{name.parent.name}/{name.stem}")


def _converted(cls: type[EventFrames], root: Path, stage: str) -> Iterator[Entry]:
    """The samples of `<stage>/{train,test}/<class>`, or of `<stage>/<class>` as the stored split divides them."""
    folder = root / stage
    if all((folder / part).is_dir() for part in PARTS):
        for name in cache.recordings_below(folder):
            yield Entry(name.parts[0], name.parent.name, folder / name, cls.recording_of(name.stem))
        return
    parts_of: dict[tuple[str, str], list[str]] = defaultdict(list)
    for category, parts in (read_split(root / FILE).split if (root / FILE).exists() else {}).items():
        for part, listed in parts.items():
            for name in listed:
                parts_of[category, name].append(part)
    for name in cache.recordings_below(folder):
        for part in parts_of.get(name.parts[-2:], [""]):
            yield Entry(part, name.parent.name, folder / name, f"{name.parent.name}/{name.stem}")


def _read_frames(entry: Entry) -> np.ndarray:
    return cache.load_frames(entry.path)
