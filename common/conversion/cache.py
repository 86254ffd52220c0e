"""The folder of a converted data set, in the layout that spikingjelly made common.

    <root>/events_np/[train|test/]<class>/<recording>.npz                            keys t, x, y, p
    <root>/frames_number_<T>_split_by_<number|time>/[train|test/]<class>/<recording>.npz     key frames, [T, 2, H, W]
    <root>/dataset.json                                                              what was converted from what

Frames of a sensor that was shrunk k times go to `..._downsample_<k>`. `<root>/.done/<folder>.json` tells a complete
folder from one that an interrupted run left behind; see `common.conversion.stages`.
"""

import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from common.conversion import stages
from common.errors import OutputError, UserError, reason_of
from common.events.event import pack
from common.events.frames import SPLITS, downsample
from common.files import atomic_path, without_litter

EVENTS = "events_np"
FACTS = "dataset.json"
SHOWN = 5
"""Recordings that a message names of those that it is about."""
_FEW_EVENTS = 2048
"""Bytes of a file of hardly any events."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def frames_folder(T: int, split_by: str, factor: int) -> str:
    """Name of the folder that holds frames made with these settings.

    Raises:
        UserError: a setting that no frames can be made with.
    """
    if T < 1 or factor < 1 or split_by not in SPLITS:
        raise UserError(
            f"expected T >= 1, downsample >= 1 and a split by {' or '.join(SPLITS)}; got {T}, {factor}, {split_by!r}"
        )
    return f"frames_number_{T}_split_by_{split_by}" + (f"_downsample_{factor}" if factor > 1 else "")


def recordings_below(folder: Path) -> list[Path]:
    """All `.npz` files below `folder`, relative to it, in sorted order; names with a leading dot are unfinished."""
    return [path.relative_to(folder) for path in without_litter(folder.rglob("*.npz"), folder)]


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in `folder` that hold recordings, in lexicographic order: their position is the label."""
    paths = without_litter(folder.iterdir(), folder)
    return [path.name for path in paths if path.is_dir() and any(path.glob("[!.]*.npz"))]


def save_events(path: Path, events: np.ndarray) -> None:
    """Write `events` [N] as an npz with the keys t, x, y, p."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **{field: events[field] for field in "txyp"})


def load_events(path: Path) -> np.ndarray:
    """Events [N] of dtype `EVENT` from an npz with the keys t, x, y, p.

    Raises:
        UserError: damaged, or not such a file.
    """
    t, x, y, p = _load_npz(path, "t", "x", "y", "p")
    return pack(t, x, y, p, name=path)


def save_frames(path: Path, frames: np.ndarray) -> None:
    """Write counts [T, 2, H, W] in the smallest unsigned type that holds them, compressed, under the key `frames`."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, frames=frames.astype(np.min_scalar_type(frames.max(initial=0))))


def load_frames(path: Path) -> np.ndarray:
    """Counts [T, 2, H, W] as float32, whatever type they were written in.

    Raises:
        UserError: damaged, or not such a file.
    """
    (frames,) = _load_npz(path, "frames")
    if frames.ndim != 4 or frames.shape[1] != 2 or not frames.size or frames.dtype.kind not in "biuf":
        found = f"{list(frames.shape)} of {frames.dtype}"
        raise UserError(f"{path}: expected counts [T, 2, H, W], found {found}; delete it and convert it again")
    if frames.dtype.kind == "f" and not np.isfinite(frames).all():
        raise UserError(f"{path}: holds counts that are not finite; delete it and convert it again")
    return frames.astype(np.float32)


def facts(root: Path) -> dict:
    """The content of `<root>/dataset.json`, empty if there is none.

    Raises:
        UserError: damaged.
    """
    path = root / FACTS
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text())
        height, width = known.get("sensor_size", (1, 1))
        if not all(isinstance(side, int) and 0 < side < 1 << 15 for side in (height, width)):
            raise ValueError(f"sensor_size {height} x {width}")
        return {"failed": list(map(str, known.get("failed", []))), **known}
    except (ValueError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and convert the data again") from error


def write_facts(root: Path, known: dict) -> None:
    """Replace the content of `<root>/dataset.json`."""
    with atomic_path(root / FACTS) as temporary:
        temporary.write_text(json.dumps(known, indent=1) + "\n")


def make_frames(
    root: Path,
    T: int,
    split_by: str,
    factor: int,
    sensor_size: tuple[int, int],
    workers: int | None = None,
) -> Path:
    """Make the frames of every recording in `<root>/events_np` and return their folder.

    A folder that is complete is left alone, one in which frames are missing is completed.

    Args:
        root: the folder of the converted data set.
        T: frames per recording.
        split_by: "number" or "time".
        factor: shrink the sensor this many times.
        sensor_size: (rows, columns) of the sensor.
        workers: number of processes; by default one per core.

    Raises:
        UserError: a damaged recording, events outside the sensor, or a folder that cannot be written.
    """
    folder = root / frames_folder(T, split_by, factor)
    made, wanted = _names(folder), _names(root / EVENTS)
    todo = sorted(set(wanted) - set(made))
    if not todo and stages.is_complete(root, folder.name, made):
        return folder
    if todo:
        stages.begin(root, folder.name, wanted)
    job = partial(_write_frames, root / EVENTS, folder, T, split_by, factor, sensor_size)
    run(job, todo, workers, f"frames T={T}")
    stages.mark(root, folder.name, _names(folder))
    return folder


def _names(folder: Path) -> list[str]:
    return [name.as_posix() for name in recordings_below(folder)]


def run(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None, title: str) -> list[Result]:
    """`[function(job) for job in jobs]` with a progress bar, in `workers` processes (default: one per core)."""
    jobs = list(jobs)
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    bar = partial(tqdm, total=len(jobs), desc=title, disable=None)
    if workers <= 1:
        return [function(job) for job in bar(jobs)]
    with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
        try:
            return list(bar(pool.map(function, jobs, chunksize=max(1, min(16, len(jobs) // (4 * workers))))))
        except BrokenProcessPool as error:
            raise UserError(f"{title}: a worker process died (out of memory?); try again with --workers 1") from error
        finally:
            pool.shutdown(cancel_futures=True)


def attempt(
    function: Callable[[Job], None], jobs: Iterable[Job], workers: int | None, title: str
) -> list[tuple[Job, str]]:
    """`run` where a job that fails does not stop the others; returns those that failed and why.

    Raises:
        OutputError: nothing can be written, so that no other job would do better.
    """
    jobs = list(jobs)
    messages = run(partial(_failure, function), jobs, workers, title)
    return [(job, message) for job, message in zip(jobs, messages, strict=True) if message]


def _failure(function: Callable[[Job], None], job: Job) -> str:
    try:
        function(job)
    except OutputError:
        raise
    except UserError as error:
        return str(error)
    return ""


def check_failures(messages: list[str], total: int) -> None:
    """Name the recordings that failed, if any, after all others are done.

    Raises:
        UserError: there are some.
    """
    if messages:
        raise UserError(
            f"{len(messages)} of {total} recordings could not be converted, the others are done: "
            f"{shortened(messages, '; ')}. Fetch them again, or remove them, and run the same command"
        )


def shortened(names: Sequence[str], comma: str = ", ") -> str:
    """The first few of `names`."""
    return comma.join(names[:SHOWN]) + f"{comma}..." * (len(names) > SHOWN)


def empty_among(events: Path, names: Iterable[str]) -> list[str]:
    """Those of the recordings `names` below `events` that hold no event."""
    small = (name for name in names if (events / name).stat().st_size < _FEW_EVENTS)
    return [name for name in small if not len(load_events(events / name))]


def _end_with_parent() -> None:
    """End this worker when its parent is killed; otherwise it would wait for work for ever."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_frames(
    events: Path, frames: Path, T: int, split_by: str, factor: int, sensor_size: tuple[int, int], name: str
) -> None:
    height, width = (-(-side // factor) for side in sensor_size)
    recording = load_events(events / name)
    try:
        counts = SPLITS[split_by](downsample(recording, factor), T, height, width)
    except UserError as error:
        raise UserError(f"{events / name}: {error}") from error
    save_frames(frames / name, counts)


def _load_npz(path: Path, *keys: str) -> list[np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as bundle:
            return [bundle[key] for key in keys]
    except Exception as error:  # what damaged files raise has no common base
        raise UserError(
            f"{path}: expected an npz file with {', '.join(keys)} ({reason_of(error)}); delete it and convert it again"
        ) from error
