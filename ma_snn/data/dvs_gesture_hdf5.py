"""DVS128 Gesture as MA-SNN uses it: one HDF5 file per gesture, users 1 to 23 to train and 24 to 29 to test."""

import argparse
import json
import re
from functools import partial
from pathlib import Path

import numpy as np

from common import archives
from common.conversion import cache, stages
from common.conversion.prepare import Prepared
from common.conversion.published import raw_files
from common.conversion.view import PARTS, Entry, View, read_inside
from common.datasets.card import DataSet
from common.datasets.dvs128_gesture import DVS128Gesture, label_file
from common.datasets.event_frames_card import names_published
from common.datasets.event_windows import EventWindows
from common.errors import UserError
from common.events.aedat import read_aedat3
from common.events.hdf5 import plain_data, read_hdf5, write_hdf5
from common.events.slicing import cut_by_labels, read_labels
from common.files import atomic_path
from common.tiny.events import write_tiny

LAST_TRAIN_USER = 23
ROWS = 12
"""Gestures per recording: file i (from 0) takes the numbers 12 i + 1 to 12 i + 12."""
GESTURES = "gestures"
"""The stage of a conversion, and with `.json` the file that says which recording each gesture was cut from."""
EXPECTED = {"train": (98, 1175), "test": (24, 288)}
"""(recordings, gestures) of the published set."""


class DVSGestureHDF5(EventWindows):
    """DVS128 Gesture in `<root>/{train,test}/DVS-Gesture-{train,test}<n>.hdf5`, as `convert` writes them.

    The label is the class of the label file less 1.
    """

    name = "dvs_gesture"
    citation = DVS128Gesture.citation
    url = DVS128Gesture.url
    num_classes = 11
    classes = class_names = DVS128Gesture.class_names

    @classmethod
    def find(cls, root: Path, part: str) -> list[Path]:
        """The HDF5 files of a part, in the order of their numbers."""
        paths = (root / part).glob(f"DVS-Gesture-{part}*.hdf5")
        numbered = sorted((int(match[1]), path) for path in paths if (match := re.search(r"(\d+)\.hdf5$", path.name)))
        if not numbered:
            raise UserError(
                f"{root / part}: no DVS-Gesture-{part}*.hdf5; put DvsGesture.tar.gz from {cls.url} into {root} and "
                f"run: python ma_snn/DVSGestures/data/DVS_Gesture.py --data-path {root}"
            )
        return [path for _, path in numbered]

    def read(self, path: Path) -> tuple[np.ndarray, int]:
        """Events, times counted from the first one, and label."""
        return read_hdf5(path)


def convert(source: Path, root: Path, workers: int | None = None) -> list[str]:
    """Turn `DvsGesture.tar.gz`, or a folder of its recordings, into the files that `DVSGestureHDF5` reads.

    The archive is unpacked to `<root>/DvsGesture`. Files that exist are kept, so that an interrupted call is continued
    by the next; each is written whole or not at all. `<root>/gestures.json` says what each was cut from. Recordings are
    numbered in the order of their names; a 13th gesture of one would share its number with the first of the next
    recording and gives way to it.

    Args:
        source: `DvsGesture.tar.gz` or a folder of `userNN_*.aedat` recordings with their `_labels.csv`.
        root: where `train` and `test` go.
        workers: number of processes; by default one per core.

    Returns:
        in what the result differs from the published set, if `source` holds that set.

    Raises:
        UserError: no recordings, one of them damaged, or without its labels.
    """
    if source.is_file():
        archive, source = source, archives.extract(source, root / "DvsGesture", suffixes=(".aedat", "_labels.csv"))
        stages.mark(root, stages.UNPACKED, [archive.name])
    recordings = raw_files(source, (".aedat",)) if source.is_dir() else []
    if not recordings:
        raise UserError(
            f"{source}: expected DvsGesture.tar.gz or its userNN_*.aedat recordings; see {DVSGestureHDF5.url}"
        )
    parts = {part: [path for path in recordings if _part(path) == part] for part in EXPECTED}
    outputs = {part: _outputs(paths, root / part, part) for part, paths in parts.items()}
    jobs = [
        (path, rows)
        for found in outputs.values()
        for path, rows in found.items()
        if not all(output.exists() for output in rows.values())
    ]
    names = _describe(root, outputs)
    if jobs:
        stages.begin(root, GESTURES, names)
    failures = cache.attempt(_write_gestures, jobs, workers, "DVS Gesture")
    cache.check_failures([message for _, message in failures], len(recordings))
    stages.mark(root, GESTURES, names)
    if not DVS128Gesture.is_published_set(recordings):
        return []
    found = {part: (len(paths), sum(map(len, outputs[part].values()))) for part, paths in parts.items()}
    return [
        f"{part}: expected {EXPECTED[part][0]} recordings and {EXPECTED[part][1]} gestures, found {files} and {rows}"
        for part, (files, rows) in found.items()
        if (files, rows) != EXPECTED[part]
    ]


def gestures(recording: np.ndarray, labels: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """(label from 0, events with times counted from their first one) of each row of `labels` [rows, 3]."""
    cut = []
    for label, events in cut_by_labels(recording, labels):
        events["t"] -= events["t"][:1]
        cut.append((label, events))
    return cut


def _part(recording: Path) -> str:
    match = re.match(r"user(\d+)", recording.name)
    if match is None:
        raise UserError(f"{recording}: expected a name that begins with userNN, which decides between train and test")
    return "train" if int(match[1]) <= LAST_TRAIN_USER else "test"


def _outputs(recordings: list[Path], folder: Path, part: str) -> dict[Path, dict[int, Path]]:
    """{recording: {row of its label file: HDF5 file}}."""
    owner = {}
    for index, path in enumerate(recordings):
        for row in range(len(read_labels(label_file(path)))):
            owner[ROWS * index + row + 1] = (path, row)
    outputs: dict[Path, dict[int, Path]] = {path: {} for path in recordings}
    for number, (path, row) in owner.items():
        outputs[path][row] = folder / f"DVS-Gesture-{part}{number}.hdf5"
    return outputs


def recordings_of(root: Path) -> dict[str, str]:
    """{`train/DVS-Gesture-train1.hdf5`: the recording it was cut from}; empty if the files came without this list.

    Raises:
        UserError: the list is damaged.
    """
    path = root / f"{GESTURES}.json"
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run the conversion again") from error


def _describe(root: Path, outputs: dict[str, dict[Path, dict[int, Path]]]) -> list[str]:
    """Write the list of `recordings_of` and return the names of the gestures in it."""
    found = {
        output.relative_to(root).as_posix(): path.stem
        for recordings in outputs.values()
        for path, rows in recordings.items()
        for output in rows.values()
    }
    if recordings_of(root) != found:
        with atomic_path(root / f"{GESTURES}.json") as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n")
    return list(found)


def _write_gestures(job: tuple[Path, dict[int, Path]]) -> None:
    path, rows = job
    cut = gestures(read_aedat3(path), read_labels(label_file(path)))
    empty = [row + 1 for row in rows if not len(cut[row][1])]
    for row, output in rows.items():
        label, events = cut[row]
        if len(events):
            write_hdf5(output, events, label)
    if empty:
        where = f"row {', '.join(map(str, empty))}"
        raise UserError(f"{label_file(path)}: {where}: no events between its start and its end in {path}")


def write_tiny_gesture(folder: str | Path, *, classes: int = 10, users: int = 29, seed: int = 0) -> Path:
    """`raw/DvsGesture.tar.gz` of AEDAT 3.1 recordings, one per user, and what `convert` makes of it.

    From user 24 on they are for testing, so that `users` has to be 24 to 170.

    Returns:
        `folder`, the root of `DVSGestureHDF5`.
    """
    folder = Path(folder)
    source = write_tiny("dvs128", folder / "raw", classes=classes, per_class=users, seed=seed)
    convert(source / "DvsGesture.tar.gz", folder, workers=1)
    return folder


def _convert(options: argparse.Namespace) -> Prepared:
    source = options.source
    if (
        source.is_dir()
        and not raw_files(source, (".aedat",))
        and (found := archives.archives_in(source, DVS128Gesture.archives))
    ):
        source = found[0]
    return Prepared(options.output, convert(source, options.output, options.workers))


def gesture_views(root: Path) -> list[View]:
    """The HDF5 files of MA-SNN's DVS128 Gesture."""
    recordings = recordings_of(root)
    entries = [
        Entry(part, _hdf5_label(path), path, recordings.get(path.relative_to(root).as_posix(), ""))
        for part in PARTS
        for path in DVSGestureHDF5.find(root, part)
    ]
    return [View(GESTURES, root, entries, partial(read_inside, DVS128Gesture.sensor_size, _read_events))]


def _hdf5_label(path: Path) -> str:
    import h5py

    try:
        with h5py.File(path, "r") as content:
            return str(int(plain_data(content, "labels")))
    except Exception:
        return "unreadable"  # reading the file says why


def _read_events(path: Path) -> np.ndarray:
    return read_hdf5(path)[0]


CARD = DataSet.of(
    DVSGestureHDF5,
    title="DVS128 Gesture as HDF5, a file per gesture",
    papers="ma_snn",
    form="events",
    files=DVS128Gesture.archives,
    folder="ma_snn/DVSGestures/data",
    split="users 1 to 23 train, 24 to 29 test",
    convert=_convert,
    views=gesture_views,
    write_tiny=write_tiny_gesture,
    terms=DVS128Gesture.terms,
    expected={
        **{part: gestures for part, (_, gestures) in EXPECTED.items()},
        "classes": DVSGestureHDF5.num_classes,
    },
    is_published=partial(names_published, DVS128Gesture),
    class_names=DVSGestureHDF5.class_names,
)
