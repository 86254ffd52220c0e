"""What the frame data sets have in common: finding recordings, splitting them, loading them."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.datasets import cache
from common.datasets.split import first_split, load_split
from common.errors import UserError

FACTS = "dataset.json"


class Recording(NamedTuple):
    """A raw file and the samples it becomes, as paths relative to `events_np`."""

    path: Path
    outputs: tuple[str, ...]


class EventFrames(Dataset):
    """Event recordings as (frames float32 [T, 2, H, W], label) pairs.

    Args:
        root: a converted data set: `events_np`, or frames made earlier, or `train_dataset` and `test_dataset` with
            frames as the authors of SMA divided them.
        train: the training or the test part.
        T: frames per recording.
        split_by: cut recordings into equally many events ("number") or equal durations ("time").
        transform: applied to the frames of each sample.
        downsample: shrink the sensor this many times.
        workers: processes for making frames that do not exist yet; by default one per core.
        split: how a data set without an official split is divided: "seeded" by `load_split`, "first" by `first_split`.

    Attributes:
        classes: class names in lexicographic order; the label is the position.
        num_classes: how many classes the data on disk have.
        sensor_size: (H, W) of the frames.
        samples: (path, label) of each sample.
        targets: label of each sample.

    Raises:
        UserError: nothing usable in `root`; the message holds the command that prepares it.
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    url: ClassVar[str]
    md5: ClassVar[dict[str, str]]
    archives: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    sensor_size: tuple[int, int]
    num_classes: int
    expected: ClassVar[dict[str, int]]
    split_seed: ClassVar[int | None]

    def __init__(
        self,
        root: str | Path,
        train: bool,
        T: int,
        split_by: str = "number",
        transform: Callable[[Tensor], Tensor] | None = None,
        *,
        downsample: int = 1,
        workers: int | None = None,
        split: Literal["seeded", "first"] = "seeded",
    ):
        self.root, self.train, self.T = Path(root), train, T
        self.split_by, self.transform, self.downsample, self.split = split_by, transform, downsample, split
        folders = self._part_folders(workers)
        self.classes = sorted({name for folder in folders.values() for name in cache.class_folders(folder)})
        self.num_classes = len(self.classes)
        self.samples = self._samples(folders)
        self.targets = [label for _, label in self.samples]
        if not self.samples:
            raise UserError(f"{self.name}: no recordings in {folders[self._part]}; {self._remedy()}")
        self.sensor_size = tuple(cache.load_frames(self.samples[0][0]).shape[2:])

    @property
    def _part(self) -> str:
        return "train" if self.train else "test"

    def _part_folders(self, workers: int | None) -> dict[str, Path]:
        """{"train": folder of class folders, "test": ...}; the same folder twice when a split must divide it."""
        name = cache.frames_folder(self.T, self.split_by, self.downsample)
        halves = {part: self.root / f"{part}_dataset" / name for part in ("train", "test")}
        if halves[self._part].parent.is_dir():
            missing = [str(folder) for folder in halves.values() if not folder.is_dir()]
            if missing:
                raise UserError(f"{self.name}: expected frames in {' and '.join(missing)}; {self._remedy()}")
            return halves
        frames, known = self.root / name, facts(self.root)
        if known and "classes" not in known:
            raise UserError(f"{self.name}: the conversion to {self.root} was interrupted; run the same command again")
        if cache.recordings_below(self.root / cache.EVENTS):
            size = known.get("sensor_size", type(self).sensor_size)
            cache.make_frames(self.root, self.T, self.split_by, self.downsample, tuple(size), workers)
        elif not frames.is_dir():
            raise UserError(f"{self.name}: neither {self.root / cache.EVENTS} nor {frames} exists; {self._remedy()}")
        parts = {part: frames / part for part in ("train", "test")}
        if all(folder.is_dir() for folder in parts.values()):
            return parts
        if self.split_seed is None:
            raise UserError(f"{self.name}: expected the folders train and test in {frames}; {self._remedy()}")
        return dict.fromkeys(parts, frames)

    def _samples(self, folders: dict[str, Path]) -> list[tuple[Path, int]]:
        folder = folders[self._part]
        names = {
            category: sorted(path.name for path in (folder / category).glob("[!.]*.npz")) for category in self.classes
        }
        if folders["train"] == folders["test"]:
            first = self.split == "first"
            split = first_split(names) if first else load_split(self.root, names, self.split_seed)
            names = {category: split[category][self._part] for category in self.classes}
        return [
            (folder / category / name, label) for label, category in enumerate(self.classes) for name in names[category]
        ]

    def _remedy(self) -> str:
        flags = f" --split-by {self.split_by}" * (self.split_by != "number")
        flags += f" --downsample {self.downsample}" * (self.downsample > 1)
        command = f"python tools/convert_dataset.py {self.name} -T {self.T}{flags}"
        if raw_files(self.root, self.suffixes) or any(self.root.glob(self.archives)):
            return f"convert the raw recordings first: {command} --source {self.root} --output ANOTHER_FOLDER"
        return (
            f"put {self.archives} from {self.url} into a folder SOURCE and run: "
            f"{command} --source SOURCE --output {self.root}"
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        frames = torch.from_numpy(cache.load_frames(path))
        return (frames if self.transform is None else self.transform(frames)), label

    # What follows turns published files into `events_np`; `common.datasets.prepare` calls it.

    @classmethod
    def read(cls, path: Path) -> Iterator[np.ndarray]:
        """Yield the events [N] of each sample in a raw file, in the order of `Recording.outputs`."""
        raise NotImplementedError

    @classmethod
    def recordings(cls, folder: Path) -> list[Recording]:
        """The raw files of `folder`: `<class>/<file>`, or an official split `{train,test}/<class>/<file>`."""
        paths = [path for path in raw_files(folder, cls.suffixes) if path.parent != folder]
        official = {path.parent.parent.name.lower() for path in paths} == {"train", "test"}
        found = []
        for path in paths:
            part = f"{path.parent.parent.name.lower()}/" if official else ""
            found.append(Recording(path, (f"{part}{path.parent.name}/{path.stem}.npz",)))
        return found

    @classmethod
    def is_published_set(cls, recordings: Iterable[Recording]) -> bool:
        """Whether these are (part of) the data its authors published, and not something in the same format."""
        raise NotImplementedError

    @classmethod
    def counts(cls, outputs: Iterable[str]) -> dict[str, int]:
        """What was found, in the terms of `expected`."""
        raise NotImplementedError

    @classmethod
    def convert(cls, events: Path, recording: Recording) -> None:
        """Write the samples of one raw file below the folder `events`."""
        for output, sample in zip(recording.outputs, cls.read(recording.path), strict=True):
            cache.save_events(events / output, sample)


def raw_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files up to three folders below `folder` whose names end in `suffixes`, sorted; hidden ones are passed over."""
    levels = ("[!.]*/" * depth + "[!.]*" for depth in range(4))
    return sorted(path for level in levels for path in folder.glob(level) if path.name.endswith(suffixes))


def facts(root: Path) -> dict:
    """The content of `<root>/dataset.json`, empty if there is none.

    Raises:
        UserError: damaged.
    """
    path = root / FACTS
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); delete it and convert the data again") from error
