"""The files that the authors of a data set published: what `common.conversion.prepare` has to know of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from common.files import without_litter


class Recording(NamedTuple):
    """A raw file and the samples it becomes, as paths relative to `events_np`."""

    path: Path
    outputs: tuple[str, ...]


class Published:
    """Mixed into the loader of a data set: facts of its files, and how they are found and read.

    Attributes:
        archives: pattern of the published archives' names.
        suffixes: how the names of the files end that are needed, those of recordings first.
        sensor_size: (H, W).
        sensor_from_data: whether recordings of other sets are welcome, whose sensor is as large as their coordinates.
        expected: what `counts` finds in the complete set.
        listed: whether the published files have lists of the recordings.
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    url: ClassVar[str]
    md5: ClassVar[dict[str, str]]
    terms: ClassVar[str]
    archives: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    sensor_size: tuple[int, int]
    sensor_from_data: ClassVar[bool] = False
    expected: ClassVar[dict[str, int]]
    listed: ClassVar[bool] = False

    @classmethod
    def recordings(cls, folder: Path, skip_missing: bool = False) -> list[Recording]:
        """The raw files of `folder`: `<class>/<file>`, or an official split `{train,test}/<class>/<file>`.

        With `skip_missing` those are left out that a list names and that are not there.
        """
        paths = [path for path in raw_files(folder, cls.suffixes) if path.parent != folder]
        official = {path.parent.parent.name.lower() for path in paths} == {"train", "test"}
        found = []
        for path in paths:
            part = f"{path.parent.parent.name.lower()}/" if official else ""
            found.append(Recording(path, (f"{part}{path.parent.name}/{path.stem}.npz",)))
        return found

    @classmethod
    def read(cls, path: Path) -> Iterator[np.ndarray]:
        """Yield the events [N] of each sample in a raw file, in the order of `Recording.outputs`."""
        raise NotImplementedError

    @classmethod
    def is_published_set(cls, paths: Iterable[Path]) -> bool:
        """Whether these recordings are (part of) the set its authors published, and not something in the same format.

        Their names tell, and the folder of their class.
        """
        raise NotImplementedError

    @classmethod
    def counts(cls, outputs: Iterable[str]) -> dict[str, int]:
        """What was found, in the terms of `expected`."""
        raise NotImplementedError


def raw_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files up to three folders below `folder` whose names end in `suffixes`, sorted; hidden ones are passed over."""
    found = (path for depth in range(4) for path in folder.glob("*/" * depth + "*") if path.name.endswith(suffixes))
    return [path for path in without_litter(found, folder) if path.is_file()]
