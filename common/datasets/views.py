"""The data sets of `common` as views, for `common.datasets.checks` and for pictures; nothing is written."""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache as remember
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from torchvision.datasets import ImageFolder

from common.datasets import cache, cifar10_dvs_mat, dvs_gait, dvs_gesture_hdf5
from common.datasets.checks import Entry, View
from common.datasets.cifar import DATASETS, cifar
from common.datasets.cifar10_dvs_mat import CIFAR10DVSMat
from common.datasets.dvs128_gesture import DVS128Gesture
from common.datasets.dvs_gait import DVSGait
from common.datasets.dvs_gesture_hdf5 import DVSGestureHDF5
from common.datasets.event_frames import EventFrames, facts
from common.datasets.imagenet import check_classes, imagenet, load_rgb
from common.datasets.split import FILE, read_split
from common.errors import UserError
from common.events.hdf5 import read_hdf5

_PARTS = ("train", "test")
_DVS128 = (128, 128)
_SYNSET_IMAGE = re.compile(r"n\d{8}_\w+|ILSVRC2012_val_\d+")
"""Names that ImageNet gives to one picture each; other sets may number theirs anew in each folder."""


def frame_views(cls: type[EventFrames], root: Path) -> list[View]:
    """Events, if they are there, and the frames of every T.

    Raises:
        UserError: there are neither, a conversion was interrupted, or the stored split is damaged.
    """
    known = facts(root)
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
        read = partial(read_events, size) if stage == cache.EVENTS else read_frames
        entries = list(_divided(cls, root, stage) if divided else _converted(cls, root, stage))
        views.append(View(stage, root if divided else root / stage, entries, read, uniform=stage != cache.EVENTS))
    return views


def _divided(cls: type[EventFrames], root: Path, stage: str) -> Iterator[Entry]:
    """The samples of `{train,test}_dataset/<stage>/<class>`."""
    for part in _PARTS:
        folder = root / f"{part}_dataset" / stage
        for name in cache.recordings_below(folder):
            yield Entry(part, name.parent.name, folder / name, f"{name.parent.name}/{name.stem}")


def _converted(cls: type[EventFrames], root: Path, stage: str) -> Iterator[Entry]:
    """The samples of `<stage>/{train,test}/<class>`, or of `<stage>/<class>` as the stored split divides them."""
    folder = root / stage
    if all((folder / part).is_dir() for part in _PARTS):
        for name in cache.recordings_below(folder):
            # Files of other data sets may be numbered anew in each part.
            recording = _gesture_recording(name.stem) if cls is DVS128Gesture else ""
            yield Entry(name.parts[0], name.parent.name, folder / name, recording)
        return
    parts_of: dict[tuple[str, str], list[str]] = defaultdict(list)
    for category, parts in (read_split(root / FILE).split if (root / FILE).exists() else {}).items():
        for part, listed in parts.items():
            for name in listed:
                parts_of[category, name].append(part)
    for name in cache.recordings_below(folder):
        for part in parts_of.get(name.parts[-2:], [""]):
            yield Entry(part, name.parent.name, folder / name, f"{name.parent.name}/{name.stem}")


def _gesture_recording(stem: str) -> str:
    """`user01_led` of `user01_led_0`, the sample 0 of it."""
    match = re.fullmatch(r"(user\d+_\w+)_\d+", stem)
    return match[1] if match else ""


def read_events(size: tuple[int, int], entry: Entry) -> np.ndarray:
    """The events [N] of a converted recording, which lie in a sensor of `size` (H, W)."""
    return _inside(size, entry.path, cache.load_events(entry.path))


def read_frames(entry: Entry) -> np.ndarray:
    """Counts [T, 2, H, W]."""
    return cache.load_frames(entry.path)


def _inside(size: tuple[int, int], path: Path, events: np.ndarray) -> np.ndarray:
    for axis, limit in zip("yx", size, strict=True):
        if len(events) and not 0 <= events[axis].min() <= events[axis].max() < limit:
            raise UserError(
                f"{path}: {axis} runs from {events[axis].min()} to {events[axis].max()}, outside a sensor of {limit}; "
                "delete it and convert it again"
            )
    return events


def gesture_views(root: Path) -> list[View]:
    """The HDF5 files of MA-SNN's DVS128 Gesture."""
    recordings = dvs_gesture_hdf5.recordings_of(root)
    entries = [
        Entry(part, _hdf5_label(path), path, recordings.get(path.relative_to(root).as_posix(), ""))
        for part in _PARTS
        for path in DVSGestureHDF5.find(root, part)
    ]
    return [View(dvs_gesture_hdf5.GESTURES, root, entries, _read_gesture)]


def _hdf5_label(path: Path) -> str:
    try:
        with h5py.File(path, "r") as content:
            return str(int(content["labels"][()]))
    except (OSError, KeyError):
        return "unreadable"  # reading the file says why


def _read_gesture(entry: Entry) -> np.ndarray:
    return _inside(_DVS128, entry.path, read_hdf5(entry.path)[0])


def mat_views(root: Path) -> list[View]:
    """The recordings of MA-SNN's CIFAR10-DVS."""
    entries = [
        Entry(part, path.parent.name, path, f"{path.parent.name}/{path.stem}")
        for part in _PARTS
        for path in CIFAR10DVSMat.find(root, part)
    ]
    return [View(cifar10_dvs_mat.RECORDINGS, root, entries, _read_mat)]


def _read_mat(entry: Entry) -> np.ndarray:
    return _inside(_DVS128, entry.path, cifar10_dvs_mat.read_events(entry.path))


def gait_views(root: Path) -> list[View]:
    """The arrays of DVS128-Gait."""
    folder = root / dvs_gait.CONVERTED
    if not folder.is_dir() and (root / "train").is_dir():
        raise UserError(
            f"{root}: text recordings that are not converted; run: python tools/convert_dataset.py prepare dvs_gait "
            f"--source {root} --output {root}"
        )
    entries = [Entry(part, path.parent.name, path) for part in _PARTS for path in DVSGait.find(root, part)]
    return [View(dvs_gait.CONVERTED, folder, entries, _read_gait)]


def _read_gait(entry: Entry) -> np.ndarray:
    return _inside(_DVS128, entry.path, dvs_gait.load_events(entry.path))


def cifar_views(name: str, root: Path) -> list[View]:
    """The pictures of CIFAR, as published or in class folders.

    Raises:
        UserError: not there, or not the published files.
    """
    home = DATASETS[name].base_folder
    if root.name != home and not any((root / folder).is_dir() for folder in (home, "train")):
        raise UserError(
            f"{root}: expected {home} or {{train,test}}/<class>/<image>; fetch {DATASETS[name].url}, unpack it, and "
            f"give the folder that {home} is in"
        )
    parts = {part: cifar(name, root, part == "train", None) for part in _PARTS}
    if isinstance(parts["train"], ImageFolder):
        return [_image_view(root, parts)]
    entries = [
        Entry(part, data.classes[label], root / part, index=index)
        for part, data in parts.items()
        for index, label in enumerate(data.targets)
    ]
    return [View("pictures", root, entries, partial(_read_cifar, name, root), uniform=True)]


def _read_cifar(name: str, root: Path, entry: Entry) -> np.ndarray:
    return _cifar_pixels(name, root, entry.part == "train")[entry.index]


@remember
def _cifar_pixels(name: str, root: Path, train: bool) -> np.ndarray:
    return cifar(name, root, train, None).data


def imagenet_views(root: Path) -> list[View]:
    """The pictures of ImageNet, or of another set in the same folders."""
    parts = {train: imagenet(root, train, None) for train in (True, False)}
    check_classes(parts[True], parts[False])
    return [_image_view(root, {Path(data.root).name: data for data in parts.values()})]


def _image_view(root: Path, parts: dict[str, ImageFolder]) -> View:
    entries = [
        Entry(
            part, data.classes[label], Path(path), Path(path).stem if _SYNSET_IMAGE.fullmatch(Path(path).stem) else ""
        )
        for part, data in parts.items()
        for path, label in data.samples
    ]
    return View("pictures", root, entries, _read_image)


def _read_image(entry: Entry) -> np.ndarray:
    return np.asarray(load_rgb(str(entry.path)))
