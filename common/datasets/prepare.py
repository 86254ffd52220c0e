"""From what the authors of a data set published to the frames that the loaders read."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from common import archives
from common.datasets import cache, stages
from common.datasets.cifar10_dvs import CIFAR10DVS
from common.datasets.dvs128_gesture import DVS128Gesture
from common.datasets.event_frames import FACTS, EventFrames, Recording, facts, raw_files
from common.datasets.n_caltech101 import NCaltech101
from common.errors import UserError
from common.files import atomic_path

DATASETS: dict[str, type[EventFrames]] = {cls.name: cls for cls in (DVS128Gesture, CIFAR10DVS, NCaltech101)}


class Prepared(NamedTuple):
    """Where the converted data set is, and in what it differs from the published one."""

    root: Path
    problems: list[str]


def prepare(
    name: str,
    source: str | Path,
    output: str | Path,
    T: int,
    split_by: str = "number",
    *,
    downsample: int = 1,
    workers: int | None = None,
    strict: bool = False,
) -> Prepared:
    """Convert a data set, so that `DATASETS[name](prepared.root, train, T, split_by)` can load it.

    Work that is already done is not repeated, and an interrupted call is continued by the next. Call it from one
    process only (rank 0).

    Args:
        name: key of `DATASETS`.
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
    cls, source, output = DATASETS[name], Path(source), Path(output)
    frames = cache.frames_folder(T, split_by, downsample)
    converted = any((source / folder).is_dir() for folder in (cache.EVENTS, frames, "train_dataset"))
    if converted and source.resolve() != output.resolve():
        cls(source, True, T, split_by, downsample=downsample, workers=workers)
        return Prepared(source, [])
    inputs = _inputs(cls, source)
    fingerprint = _fingerprint(inputs, source)
    known = facts(output)
    if known.get("source", fingerprint) != fingerprint:
        raise UserError(f"{output}: was converted from other files than {source}; delete it or choose another one")
    stages.remove_leftovers(output)
    if not _events_complete(known, output, frames):
        known = _convert_events(cls, inputs, source, output, fingerprint, workers, strict)
    if strict and known["problems"]:
        raise UserError("; ".join(known["problems"]))
    shutil.rmtree(output / stages.UNPACKING, ignore_errors=True)
    cls(output, True, T, split_by, downsample=downsample, workers=workers)
    return Prepared(output, known["problems"])


def _events_complete(known: dict, output: Path, frames: str) -> bool:
    """Whether all events are there; they may be deleted once the wanted frames are made."""
    events = output / cache.EVENTS
    if "classes" not in known or not (events.is_dir() or (output / frames).is_dir()):
        return False
    return not events.is_dir() or len(cache.recordings_below(events)) >= known["recordings"]


def _inputs(cls: type[EventFrames], source: Path) -> list[Path]:
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


def _convert_events(
    cls: type[EventFrames],
    inputs: list[Path],
    source: Path,
    output: Path,
    fingerprint: str,
    workers: int | None,
    strict: bool,
) -> dict:
    """Fill `events_np` and return the facts that go to `dataset.json`; its classes are written last."""
    unpacked, events = output / stages.UNPACKING, output / cache.EVENTS
    if not inputs[0].name.endswith(cls.suffixes):
        for archive in inputs:
            archives.extract(archive, unpacked / archive.name.partition(".")[0], suffixes=cls.suffixes)
        stages.mark(output, stages.UNPACKED, [archive.name for archive in inputs])
        source = unpacked
    recordings = cls.recordings(source)
    outputs = _outputs(cls, recordings, source)
    published = cls.is_published_set(recordings)
    problems = _problems(cls, outputs) if published else []
    if strict and problems:
        raise UserError("; ".join(problems))
    known = {"dataset": cls.name, "source": fingerprint}
    _write_facts(output, known)
    todo = [one for one in recordings if not all((events / name).exists() for name in one.outputs)]
    cache.run(partial(cls.convert, events), todo, workers, "events")
    known["classes"] = sorted({name.split("/")[-2] for name in outputs})
    known["recordings"] = len(outputs)
    known["sensor_size"] = _sensor_size(cls, events, outputs, workers, published)
    known["problems"] = problems
    stages.mark(output, cache.EVENTS, outputs)
    _write_facts(output, known)
    return known


def _outputs(cls: type[EventFrames], recordings: list[Recording], source: Path) -> list[str]:
    """What all recordings become, checked to be something and to be different."""
    outputs = [name for recording in recordings for name in recording.outputs]
    if not outputs:
        raise UserError(f"{source}: no *{cls.suffixes[0]} recordings in class folders; see {cls.url} for the layout")
    name, times = Counter(outputs).most_common(1)[0]
    if times > 1:
        raise UserError(f"{source}: {times} recordings would become {name}; convert them separately")
    return outputs


def _problems(cls: type[EventFrames], outputs: list[str]) -> list[str]:
    found = cls.counts(outputs)
    return [
        f"{cls.name}: {key}: expected {count}, found {found.get(key, 0)}"
        for key, count in cls.expected.items()
        if found.get(key, 0) != count
    ]


def _sensor_size(
    cls: type[EventFrames], events: Path, outputs: list[str], workers: int | None, published: bool
) -> list[int]:
    """[H, W]: the data set's own, or for foreign ATIS recordings the largest coordinates + 1."""
    if published or cls is not NCaltech101:
        return list(cls.sensor_size)
    sizes = cache.run(_extent, [events / name for name in outputs], workers, "sensor size")
    return [max(side) for side in zip(*sizes, strict=True)]


def _extent(path: Path) -> tuple[int, int]:
    recording = cache.load_events(path)
    return int(recording["y"].max(initial=0)) + 1, int(recording["x"].max(initial=0)) + 1


def _write_facts(output: Path, known: dict) -> None:
    with atomic_path(output / FACTS) as temporary:
        temporary.write_text(json.dumps(known, indent=1) + "\n")
