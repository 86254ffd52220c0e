"""CIFAR10-DVS as MA-SNN uses it: `.mat` or `.aedat` recordings, the last hundred of each class to test."""

import argparse
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from common import archives
from common.analysis.samples import Reading
from common.conversion import stages
from common.conversion.prepare import Prepared
from common.conversion.view import PARTS, Entry, View, read_inside
from common.datasets.card import DataSet
from common.datasets.cifar10_dvs import CARD as FRAMES
from common.datasets.cifar10_dvs import CIFAR10DVS
from common.datasets.event_frames_card import names_published
from common.datasets.event_windows import EventWindows
from common.errors import UserError
from common.events.aedat import read_aedat_as_matlab
from common.events.matlab import read_matlab, write_matlab
from common.files import make_folder, without_litter
from common.tiny.recordings import recordings, write_once

RECORDINGS = "recordings"
"""The stage of `unpack`."""


class CIFAR10DVSMat(EventWindows):
    """CIFAR10-DVS in `<root>/<class>/<number>.mat` or `<root>/<class>/cifar10_<class>_<number>.aedat`.

    The label is the position of the class folder in sorted order. The numbers from 0.9 (largest + 1) up are the test
    part: 900 to 999 in the published set. Where a class has both kinds of files, the `.mat` files are read.
    """

    name = "cifar10dvs_mat"
    citation = CIFAR10DVS.citation
    url = CIFAR10DVS.url
    num_classes = 10
    class_names = CIFAR10DVS.class_names

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.classes = [folder.name for folder in class_folders(self.root)]

    @classmethod
    def find(cls, root: Path, part: str) -> list[Path]:
        """The recordings of a part, by class and number."""
        found = [path for category in class_folders(root) for path in _divide(category)[part]]
        if not found:
            raise UserError(
                f"{root}: no {part} recordings; expected <class>/<number>.mat or "
                f"<class>/cifar10_<class>_<number>.aedat; fetch the zips from {cls.url} and run: "
                f"python tools/convert_dataset.py prepare {cls.name} --source FOLDER_WITH_THE_ZIPS --output {root}"
            )
        return found

    def read(self, path: Path) -> tuple[np.ndarray, int]:
        """Events and label."""
        return read_events(path), self.classes.index(path.parent.name)

    @property
    def reading(self) -> Reading:
        """How a recording is read for evaluation."""
        return replace(super().reading, aedat="matlab")


def unpack(source: Path, root: Path) -> None:
    """Unpack the zips in `source` to `<root>/<class>/*.aedat`.

    Nothing is converted: recordings as MATLAB files take three times the room and hold the same events. Recordings
    that are there are kept, so that an interrupted call is continued by the next.

    Raises:
        UserError: no zips in `source`, one of them damaged, or with recordings outside class folders.
    """
    zips = archives.archives_in(source, CIFAR10DVS.archives)
    if not zips:
        raise UserError(f"{source}: expected {CIFAR10DVS.archives}, found none; fetch them from {CIFAR10DVS.url}")
    complete = {stages.UNPACKED: [archive.name for archive in zips], RECORDINGS: names(root)}
    if not all(stages.is_complete(root, stage, files) for stage, files in complete.items()):
        for archive in zips:
            _unpack(archive, root)
        stages.mark(root, stages.UNPACKED, complete[stages.UNPACKED])
        stages.mark(root, RECORDINGS, names(root))
    shutil.rmtree(root / stages.UNPACKING, ignore_errors=True)


def _unpack(archive: Path, root: Path) -> None:
    content = archives.extract(archive, root / stages.UNPACKING / archive.stem, suffixes=(".aedat",), nested=True)
    for path in sorted(content.rglob("*.aedat")):
        if path.parent == content:
            raise UserError(f"{archive}: {path.name} is in no class folder; fetch the archive again")
        path.replace(make_folder(root / path.parent.name) / path.name)


def names(root: Path) -> list[str]:
    """`<class>/<file>` of every recording in `root`."""
    return [path.relative_to(root).as_posix() for folder in class_folders(root) for path in _numbered(folder).values()]


def read_events(path: Path) -> np.ndarray:
    """The events [N] of a `.mat` or `.aedat` recording."""
    return read_matlab(path) if path.suffix == ".mat" else read_aedat_as_matlab(path)


def class_folders(root: Path) -> list[Path]:
    """The folders in `root` that hold recordings, sorted."""
    folders = without_litter(root.iterdir(), root) if root.is_dir() else []
    return [folder for folder in folders if folder.is_dir() and _numbered(folder)]


def _numbered(folder: Path) -> dict[int, Path]:
    """{number: recording}, `.mat` before `.aedat`."""
    for suffix in (".mat", ".aedat"):
        paths = (path for path in folder.glob(f"[!.]*{suffix}"))
        numbered = {int(match[1]): path for path in paths if (match := re.search(r"(\d+)$", path.stem))}
        if numbered:
            return numbered
    return {}


def _divide(folder: Path) -> dict[str, list[Path]]:
    numbered = sorted(_numbered(folder).items())
    first_test = 0.9 * (numbered[-1][0] + 1)
    return {
        "train": [path for number, path in numbered if number < first_test],
        "test": [path for number, path in numbered if number >= first_test],
    }


def write_tiny_cifar10dvs(folder: str | Path, *, classes: int = 10, per_class: int = 60, seed: int = 0) -> Path:
    """MATLAB files `<class>/<number>.mat`, of which `CIFAR10DVSMat` tests on the last tenth of each class."""
    settings = {"name": "cifar10dvs_mat", "classes": classes, "per_class": per_class, "seed": seed}
    return write_once(folder, settings, partial(_write_mat, classes=classes, per_class=per_class))


def _write_mat(folder: Path, classes: int, per_class: int, rng: np.random.Generator) -> None:
    for digit, number, events in recordings(classes, per_class, CIFAR10DVS.sensor_size, rng):
        write_matlab(folder / str(digit) / f"{number}.mat", events)


def _convert(options: argparse.Namespace) -> Prepared:
    if class_folders(options.source) and options.source.resolve() != options.output.resolve():
        return Prepared(options.source, [])
    unpack(options.source, options.output)
    return Prepared(options.output, [])


def mat_views(root: Path) -> list[View]:
    """The recordings of MA-SNN's CIFAR10-DVS."""
    entries = [
        Entry(part, path.parent.name, path, f"{path.parent.name}/{path.stem}")
        for part in PARTS
        for path in CIFAR10DVSMat.find(root, part)
    ]
    return [View(RECORDINGS, root, entries, partial(read_inside, CIFAR10DVS.sensor_size, read_events))]


CARD = DataSet.of(
    CIFAR10DVSMat,
    title="CIFAR10-DVS as recordings, .aedat or .mat",
    papers="ma_snn",
    form="events",
    files=FRAMES.files,
    folder="ma_snn/CIFAR10DVS/data",
    split="numbers below 0.9 (largest + 1) of each class train",
    convert=_convert,
    views=mat_views,
    write_tiny=write_tiny_cifar10dvs,
    terms=CIFAR10DVS.terms,
    expected=CIFAR10DVS.expected,
    is_published=partial(names_published, CIFAR10DVS),
)
