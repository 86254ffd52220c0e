"""Every data set of every paper: where it comes from, how it is prepared, and how to look at what is on disk."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from common.datasets import cifar10_dvs_mat, dvs_gait, dvs_gesture_hdf5, prepare, views
from common.datasets.checks import Entry, View
from common.datasets.cifar10_dvs import CIFAR10DVS
from common.datasets.cifar10_dvs_mat import CIFAR10DVSMat
from common.datasets.dvs128_gesture import DVS128Gesture
from common.datasets.dvs_gait import DVSGait
from common.datasets.dvs_gesture_hdf5 import DVSGestureHDF5
from common.datasets.event_frames import EventFrames, Recording
from common.datasets.n_caltech101 import NCaltech101
from common.datasets.prepare import Prepared
from sdt_v3.data.hardvs import clip_frames
from sdt_v3.data.hardvs_clips import HOME, frame_paths, load_image, read_list

TEN_ZIPS = "airplane.zip ... truck.zip"


@dataclass(frozen=True)
class DataSet:
    """What the tools need to know of one data set."""

    title: str
    papers: str
    files: str
    """What to fetch."""
    url: str
    folder: str
    """Where the papers' scripts look for it unless told otherwise."""
    split: str
    """Who divided it, and how."""
    prepare: Callable[[argparse.Namespace], Prepared]
    """Make of `options.source` what the loaders read."""
    views: Callable[[Path], list[View]]
    """What lies in a prepared folder."""
    converts: bool = True
    """Whether `prepare` writes something."""
    flags: str = ""
    """Flags of `prepare` in the papers' settings, after `--source` and `--output`."""
    terms: str = "see the authors' page"
    expected: Mapping[str, int] = field(default_factory=dict)
    """Published numbers of samples, see `common.datasets.checks.compare_counts`."""
    is_published: Callable[[Sequence[Entry]], bool] = lambda entries: False
    """Whether these samples are (part of) the published set, so that another number of them is a mistake."""
    class_names: tuple[str, ...] = ()
    """What class folders mean that are numbers."""
    official_twins: bool = False
    """Whether the published parts may share pictures, as CIFAR's do (Barz and Denzler 2020, arXiv 1902.00423)."""
    split_seed: int | None = None
    """Of the split of a data set whose authors made none."""

    @property
    def frames(self) -> bool:
        """Whether it is prepared for a number of frames."""
        return "-T" in self.flags

    @property
    def home(self) -> str:
        """The first folder of `folder`."""
        return self.folder.partition(";")[0]

    def class_name(self, category: str) -> str:
        """What a class folder means."""
        known = category.isdecimal() and int(category) < len(self.class_names)
        return self.class_names[int(category)] if known else category


def _prepare_frames(name: str, options: argparse.Namespace) -> Prepared:
    settings = {"downsample": options.downsample, "workers": options.workers, "strict": options.strict}
    return prepare.prepare(name, options.source, options.output, options.T, options.split_by, **settings)


def _prepare_gestures(options: argparse.Namespace) -> Prepared:
    archive = options.source / DVS128Gesture.archives
    source = archive if archive.is_file() else options.source
    return Prepared(options.output, dvs_gesture_hdf5.convert(source, options.output, options.workers))


def _prepare_mat(options: argparse.Namespace) -> Prepared:
    if cifar10_dvs_mat.class_folders(options.source) and options.source.resolve() != options.output.resolve():
        return Prepared(options.source, [])
    cifar10_dvs_mat.unpack(options.source, options.output)
    return Prepared(options.output, [])


def _prepare_gait(options: argparse.Namespace) -> Prepared:
    dvs_gait.convert(options.source, options.output, options.workers)
    DVSGait.find(options.output, "train")
    return Prepared(options.output, [])


def _look(open_views: Callable[[Path], list[View]], options: argparse.Namespace) -> Prepared:
    """Nothing has to be made; what is missing is said by the loader."""
    open_views(options.source)
    return Prepared(options.source, [])


def _hardvs_views(root: Path) -> list[View]:
    entries = [
        Entry(part, str(label), clip, clip.relative_to(root).as_posix())
        for part in ("train", "test")
        for clip, label in read_list(root, root / f"{part}_label.txt")
    ]
    return [View("clips", root, entries, _read_clip)]


def _read_clip(entry: Entry) -> np.ndarray:
    images = [load_image(path) for path in frame_paths(entry.path)]
    return clip_frames(images, len(images)).numpy()


def _names_published(cls: type[EventFrames], entries: Sequence[Entry]) -> bool:
    return cls.is_published_set(Recording(Path(entry.recording or entry.path), ()) for entry in entries)


def _whole_imagenet(entries: Sequence[Entry]) -> bool:
    synsets = {entry.category for entry in entries if entry.recording}
    return len(synsets) == 1000


def _cifar(name: str, classes: int) -> DataSet:
    look = partial(views.cifar_views, name)
    return DataSet(
        title=f"CIFAR-{classes}",
        papers="gac, spikingformer",
        files=f"cifar-{classes}-python.tar.gz, unpacked",
        url="https://www.cs.toronto.edu/~kriz/cifar.html",
        folder="data",
        split="published",
        prepare=partial(_look, look),
        converts=False,
        views=look,
        expected={"train": 50_000, "test": 10_000, "classes": classes},
        is_published=lambda entries: entries[0].index is not None,
        official_twins=True,
    )


def _event_frames(cls: type[EventFrames], expected: Mapping[str, int], **facts: object) -> DataSet:
    return DataSet(
        url=cls.url,
        prepare=partial(_prepare_frames, cls.name),
        views=partial(views.frame_views, cls),
        expected=expected,
        is_published=partial(_names_published, cls),
        split_seed=cls.split_seed,
        **facts,
    )


DATA_SETS: dict[str, DataSet] = {
    DVS128Gesture.name: _event_frames(
        DVS128Gesture,
        expected={**DVS128Gesture.expected, "classes": 11},
        title="DVS128 Gesture as frames",
        papers="sma, spikingformer, sdt_v3 (gesture)",
        files="DvsGesture.tar.gz",
        folder="data/DVS128Gesture",
        flags="-T 16",
        split="published: users 1 to 23 train, 24 to 29 test",
        terms="CC BY 4.0, credit to IBM Research",
        class_names=DVS128Gesture.class_names,
    ),
    CIFAR10DVS.name: _event_frames(
        CIFAR10DVS,
        expected=CIFAR10DVS.expected,
        title="CIFAR10-DVS as frames",
        papers="sma, spikingformer",
        files=TEN_ZIPS,
        folder="data/cifar10dvs",
        flags="-T 10",
        split="90 % of each class train: drawn with seed 3404 (sma), the first by name (spikingformer)",
        terms="figshare, see the record",
    ),
    NCaltech101.name: _event_frames(
        NCaltech101,
        expected={"classes": 101},
        title="N-Caltech101 as frames; or any folder of ATIS recordings, N-MNIST for example",
        papers="sma",
        files="Caltech101.zip",
        folder="data/NCaltech101",
        flags="-T 14",
        split="90 % of each class train, drawn with seed 3402; folders Train and Test are kept",
        terms="see the authors' page; N-MNIST: CC BY-SA 4.0",
    ),
    DVSGestureHDF5.name: DataSet(
        title="DVS128 Gesture as HDF5, a file per gesture",
        papers="ma_snn",
        files="DvsGesture.tar.gz",
        url=DVSGestureHDF5.url,
        folder="ma_snn/DVSGestures/data",
        split="users 1 to 23 train, 24 to 29 test",
        prepare=_prepare_gestures,
        views=views.gesture_views,
        terms="CC BY 4.0, credit to IBM Research",
        expected={**{part: gestures for part, (_, gestures) in dvs_gesture_hdf5.EXPECTED.items()}, "classes": 11},
        is_published=partial(_names_published, DVS128Gesture),
        class_names=DVSGestureHDF5.class_names,
    ),
    CIFAR10DVSMat.name: DataSet(
        title="CIFAR10-DVS as recordings, .aedat or .mat",
        papers="ma_snn",
        files=TEN_ZIPS,
        url=CIFAR10DVSMat.url,
        folder="ma_snn/CIFAR10DVS/data",
        split="numbers below 0.9 (largest + 1) of each class train",
        prepare=_prepare_mat,
        views=views.mat_views,
        terms="figshare, see the record",
        expected=CIFAR10DVS.expected,
        is_published=partial(_names_published, CIFAR10DVS),
    ),
    DVSGait.name: DataSet(
        title="DVS128-Gait, by day or by night, as arrays",
        papers="ma_snn, sdt_v3 (gait-day, gait-night)",
        files="folders {train,test}/<label>/* of text recordings",
        url=DVSGait.url,
        folder="ma_snn/DVSGait/data; data/gait-day, data/gait-night",
        split="published: folders train and test",
        prepare=_prepare_gait,
        views=views.gait_views,
        expected={"classes": DVSGait.num_classes},
    ),
    "hardvs": DataSet(
        title="HAR-DVS as folders of rendered frames",
        papers="sdt_v3",
        files="the frames, train_label.txt and test_label.txt",
        url=HOME,
        folder="data/HARDVS",
        split="published: the two lists",
        prepare=partial(_look, _hardvs_views),
        converts=False,
        views=_hardvs_views,
        expected={"classes": 300},
    ),
    "cifar10": _cifar("cifar10", 10),
    "cifar100": _cifar("cifar100", 100),
    "imagenet": DataSet(
        title="ImageNet (ILSVRC 2012)",
        papers="sma, ma_snn, gac, spikingformer, sdt_v3",
        files="training and validation images, unpacked to {train,val}/<class>/*",
        url="https://image-net.org",
        folder="data/ImageNet2012; data for sdt_v3",
        split="published: folders train and val",
        prepare=partial(_look, views.imagenet_views),
        converts=False,
        views=views.imagenet_views,
        expected={"train": 1_281_167, "val": 50_000},
        is_published=_whole_imagenet,
        official_twins=True,
    ),
}
