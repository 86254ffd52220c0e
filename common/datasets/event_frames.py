"""What the frame data sets have in common: finding what was converted, splitting it, loading it."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.conversion import cache
from common.conversion.published import raw_files
from common.conversion.split import first_split, load_split
from common.errors import UserError


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
    url: ClassVar[str]
    archives: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    sensor_size: tuple[int, int]
    num_classes: int
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
    def is_published(self) -> bool:
        """Whether its recordings are called as in the published set."""
        names = (Path(path.parent.name, self.recording_of(path.stem) or path.stem) for path, _ in self.samples)
        return self.is_published_set(names)

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
        frames, known = self.root / name, cache.facts(self.root)
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
        if frames.shape != (wanted := (self.T, 2, *self.sensor_size)):
            raise UserError(
                f"{path}: expected frames {list(wanted)}, found {list(frames.shape)}; delete it and convert it again"
            )
        return (frames if self.transform is None else self.transform(frames)), label

    @classmethod
    def recording_of(cls, stem: str) -> str:
        """What a sample of this name was cut from; "" where an official split numbers its files anew in each part."""
        return ""
