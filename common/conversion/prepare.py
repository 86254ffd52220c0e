"""From what the authors of a data set published to the frames that its loader reads.

archives -> raw recordings (`.extract`, for a while) -> events (`events_np`) -> frames (`frames_number_...`)
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from common import archives
from common.conversion import cache, stages
from common.conversion.published import Published, Recording, raw_files
from common.errors import UserError


class Prepared(NamedTuple):
    """Where the converted data set is, and in what it differs from the published one."""

    root: Path
    problems: list[str]


def prepare(
    cls: type[Published],
    source: str | Path,
    output: str | Path,
    T: int,
    split_by: str = "number",
    *,
    downsample: int = 1,
    workers: int | None = None,
    strict: bool = False,
) -> Prepared:
    """Convert a data set, so that `cls(prepared.root, train, T, split_by)` can load it.

    Work that is already done is not repeated, and an interrupted call is continued by the next. Call it from one
    process only (rank 0).

    Args:
        cls: loader of the data set, which makes frames of events.
        source: an archive, a folder of archives, or a folder of raw recordings; it is only read. A data set that is
            converted already is taken as it is, and `output` stays empty.
        output: folder of the converted data set.
        T: frames per recording.
        split_by: "number" or "time".
        downsample: shrink the sensor this many times.
        workers: number of processes; by default one per core.
        strict: raise when the published data set is incomplete instead of reporting it.

    Returns:
        the folder to load from, and what is missing from the published data set.

    Raises:
        UserError: unusable source, or an output folder that holds something else.
    """
    source, output, frames = Path(source), Path(output), cache.frames_folder(T, split_by, downsample)
    make_frames = partial(cls, train=True, T=T, split_by=split_by, downsample=downsample, workers=workers)
    converted = any((source / folder).is_dir() for folder in (cache.EVENTS, frames, "train_dataset"))
    if converted and source.resolve() != output.resolve():
        make_frames(source)
        return Prepared(source, [])
    inputs = _inputs(cls, source)
    origin = {"dataset": cls.name, "source": _fingerprint(inputs, source)}
    known = cache.facts(output)
    if known.get("source", origin["source"]) != origin["source"]:
        raise UserError(f"{output}: was converted from other files than {source}; delete it or choose another one")
    stages.remove_leftovers(output)
    if not _events_complete(known, output, frames):
        folder = source if inputs[0].name.endswith(cls.suffixes) else _unpack(cls, inputs, output)
        known = _make_events(cls, folder, output, origin, workers, strict)
    if strict and known["problems"]:
        raise UserError("; ".join(known["problems"]))
    shutil.rmtree(output / stages.UNPACKING, ignore_errors=True)
    make_frames(output)
    return Prepared(output, known["problems"])


def _inputs(cls: type[Published], source: Path) -> list[Path]:
    """The raw recordings of `source`, or else the archives that hold them."""
    if source.is_file():
        return [source]
    found = raw_files(source, cls.suffixes) if source.is_dir() else []
    found = found or sorted(source.glob(cls.archives))
    if not found:
        raise UserError(
            f"{source}: expected {cls.archives} or folders of *{cls.suffixes[0]} files; fetch them from {cls.url}"
        )
    return found


def _fingerprint(inputs: Iterable[Path], source: Path) -> str:
    base = source if source.is_dir() else source.parent
    listing = [(path.relative_to(base).as_posix(), path.stat().st_size) for path in inputs]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _events_complete(known: dict, output: Path, frames: str) -> bool:
    """Whether all events are there; they may be deleted once the wanted frames are made."""
    events = output / cache.EVENTS
    if "classes" not in known or not (events.is_dir() or (output / frames).is_dir()):
        return False
    return not events.is_dir() or len(cache.recordings_below(events)) >= known["recordings"]


def _unpack(cls: type[Published], inputs: list[Path], output: Path) -> Path:
    """The folder that archives were unpacked to."""
    unpacked = output / stages.UNPACKING
    for archive in inputs:
        archives.extract(archive, unpacked / archive.name.partition(".")[0], suffixes=cls.suffixes)
    stages.mark(output, stages.UNPACKED, [archive.name for archive in inputs])
    return unpacked


def _make_events(
    cls: type[Published], folder: Path, output: Path, origin: dict, workers: int | None, strict: bool
) -> dict:
    """Fill `events_np` and return the facts that go to `dataset.json`, to `origin`; its classes are written last."""
    recordings, events = cls.recordings(folder), output / cache.EVENTS
    outputs = _outputs(cls, recordings, folder)
    published = cls.is_published_set(one.path for one in recordings)
    problems = _problems(cls, outputs) if published else []
    if strict and problems:
        raise UserError("; ".join(problems))
    cache.write_facts(output, origin)
    todo = [one for one in recordings if not all((events / name).exists() for name in one.outputs)]
    cache.run(partial(_save_events, cls, events), todo, workers, "events")
    foreign = cls.sensor_from_data and not published
    known = origin | {
        "classes": sorted({name.split("/")[-2] for name in outputs}),
        "recordings": len(outputs),
        "sensor_size": _largest_extent(events, outputs, workers) if foreign else list(cls.sensor_size),
        "problems": problems,
    }
    stages.mark(output, cache.EVENTS, outputs)
    cache.write_facts(output, known)
    return known


def _outputs(cls: type[Published], recordings: list[Recording], source: Path) -> list[str]:
    """What all recordings become, checked to be something and to be different."""
    outputs = [name for recording in recordings for name in recording.outputs]
    if not outputs:
        raise UserError(f"{source}: no *{cls.suffixes[0]} recordings in class folders; see {cls.url} for the layout")
    name, times = Counter(outputs).most_common(1)[0]
    if times > 1:
        raise UserError(f"{source}: {times} recordings would become {name}; convert them separately")
    return outputs


def _problems(cls: type[Published], outputs: list[str]) -> list[str]:
    found = cls.counts(outputs)
    return [
        f"{cls.name}: {key}: expected {count}, found {found.get(key, 0)}"
        for key, count in cls.expected.items()
        if found.get(key, 0) != count
    ]


def _save_events(cls: type[Published], events: Path, recording: Recording) -> None:
    for output, sample in zip(recording.outputs, cls.read(recording.path), strict=True):
        cache.save_events(events / output, sample)


def _largest_extent(events: Path, outputs: list[str], workers: int | None) -> list[int]:
    """[H, W] that hold the events of all recordings."""
    sizes = cache.run(_extent, [events / name for name in outputs], workers, "sensor size")
    return [max(side) for side in zip(*sizes, strict=True)]


def _extent(path: Path) -> tuple[int, int]:
    recording = cache.load_events(path)
    return int(recording["y"].max(initial=0)) + 1, int(recording["x"].max(initial=0)) + 1
