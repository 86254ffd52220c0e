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
from common.locks import locked


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
    skip_missing: bool = False,
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
        skip_missing: go on without recordings that a published list names and that are not there.

    Returns:
        the folder to load from, and what is missing from the published data set.

    Raises:
        UserError: unusable source, an output folder that holds something else or is written by another process; or,
            when all others are converted, recordings that cannot be read.
    """
    source, output, frames = Path(source), Path(output), cache.frames_folder(T, split_by, downsample)
    make_frames = partial(cls, train=True, T=T, split_by=split_by, downsample=downsample, workers=workers)
    converted = any((source / folder).is_dir() for folder in (cache.EVENTS, frames, "train_dataset"))
    if converted and source.resolve() != output.resolve():
        make_frames(source)
        return Prepared(source, [])
    inputs = _inputs(cls, source)
    with locked(output):
        known = cache.facts(output)
        failed, sizes = known.get("failed", []), _sizes(inputs, source)
        origin = {"dataset": cls.name, "source": _fingerprint(sizes, failed)}
        if known.get("source", origin["source"]) != origin["source"]:
            raise UserError(f"{output}: was converted from other files than {source}; delete it or choose another one")
        stages.remove_leftovers(output)
        if not _events_complete(known, output, frames):
            folder = source if inputs[0].name.endswith(cls.suffixes) else _unpack(cls, inputs, output)
            recordings = cls.recordings(folder, skip_missing)
            outputs = _outputs(cls, recordings, source)
            problems = _published_problems(cls, recordings, outputs, strict)
            cache.write_facts(output, origin | {"failed": failed})
            failures = _make_events(cls, recordings, output, workers)
            failed = [path.relative_to(folder).as_posix() for path in failures]
            origin["source"] = _fingerprint(sizes, failed)
            known = origin | _events_facts(cls, recordings, outputs, output, problems, workers) | {"failed": failed}
            if failures:  # no split yet: it would lack them
                cache.write_facts(output, origin | {"failed": failed})
                cache.make_frames(output, T, split_by, downsample, tuple(known["sensor_size"]), workers)
                cache.check_failures(list(failures.values()), len(recordings))
            stages.mark(output, cache.EVENTS, outputs)
            cache.write_facts(output, known)
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
    found = found or archives.archives_in(source, cls.archives)
    if not found:
        raise UserError(
            f"{source}: expected {cls.archives} or folders of *{cls.suffixes[0]} files; fetch them from {cls.url}"
        )
    return found


def _sizes(inputs: Iterable[Path], source: Path) -> dict[str, int]:
    """{name below `source`: bytes}."""
    base = source if source.is_dir() else source.parent
    try:
        return {path.relative_to(base).as_posix(): path.stat().st_size for path in inputs}
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; look whether {source} is still there") from error


def _fingerprint(sizes: dict[str, int], failed: Iterable[str]) -> str:
    """A hash of names and sizes; files that failed may be fetched again or removed, so that they do not count."""
    listing = [(name, size) for name, size in sizes.items() if name not in set(failed)]
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
        archives.extract(archive, unpacked / archive.name.partition(".")[0], suffixes=cls.suffixes, nested=True)
    stages.mark(output, stages.UNPACKED, [archive.name for archive in inputs])
    return unpacked


def _published_problems(
    cls: type[Published], recordings: list[Recording], outputs: list[str], strict: bool
) -> list[str]:
    """What is missing from the published set, if this is it; with `strict` it must be whole."""
    published = cls.is_published_set(one.path for one in recordings)
    problems = _problems(cls, outputs) if published else []
    if strict and problems:
        raise UserError("; ".join(problems))
    return problems


def _make_events(
    cls: type[Published], recordings: list[Recording], output: Path, workers: int | None
) -> dict[Path, str]:
    """Fill `events_np` with what is not there; {raw file: why} of those that cannot be read."""
    events = output / cache.EVENTS
    todo = [one for one in recordings if not one.outputs or not all((events / name).exists() for name in one.outputs)]
    failures = cache.attempt(partial(_save_events, cls, events), todo, workers, "events")
    return {one.path: message for one, message in failures}


def _events_facts(
    cls: type[Published],
    recordings: list[Recording],
    outputs: list[str],
    output: Path,
    problems: list[str],
    workers: int | None,
) -> dict:
    """What is known of the events that are there."""
    events = output / cache.EVENTS
    there = [name for name in outputs if (events / name).exists()]
    if empty := cache.empty_among(events, there):
        problems = [*problems, f"{cls.name}: {len(empty)} samples are empty: {cache.shortened(empty)}"]
    foreign = cls.sensor_from_data and not cls.is_published_set(one.path for one in recordings)
    return {
        "classes": sorted({name.split("/")[-2] for name in outputs}),
        "recordings": len(outputs),
        "sensor_size": _largest_extent(events, there, workers) if foreign and there else list(cls.sensor_size),
        "problems": problems,
    }


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
