"""DVS128 Gesture: 11 hand and arm gestures of 29 people under 3 to 5 kinds of light."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from common.conversion import cache
from common.conversion.published import Published, Recording, raw_files
from common.datasets.event_frames import EventFrames
from common.datasets.event_frames_card import event_frames_card
from common.errors import UserError
from common.events.aedat import read_aedat3
from common.events.slicing import cut_by_labels, read_labels
from common.tiny.events import write_tiny

_LIGHTS = ("fluorescent", "fluorescent_led", "lab", "led", "natural")


class DVS128Gesture(EventFrames, Published):
    """DVS128 Gesture, cut by its label files, with the official split into people (users 1-23 train, 24-29 test).

    The label is the position of the class folder in lexicographic order, 0, 1, 10, 2, ..., 9: output 2 of a network is
    gesture 10, output 3 is gesture 2. Published checkpoints rely on this order. `class_names[int(classes[label])]` is
    what a label means.
    """

    name = "dvs128"
    citation = "Amir et al., A Low Power, Fully Event-Based Gesture Recognition System, CVPR 2017"
    url = "https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794"
    md5: ClassVar = {"DvsGesture.tar.gz": "8a5c71fb11e24e5ca5b11866ca6c00a1"}
    terms = "CC BY 4.0, credit to IBM Research"
    archives = "DvsGesture.tar.gz"
    suffixes = (".aedat", "_labels.csv", "trials_to_train.txt", "trials_to_test.txt")
    sensor_size = (128, 128)
    num_classes = 11
    class_names = (
        "hand clap", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter clockwise",
        "left arm clockwise", "left arm counter clockwise", "arm roll", "air drums", "air guitar", "other gestures",
    )  # fmt: skip
    expected: ClassVar = {"train": 1176, "test": 288}
    listed = True
    split_seed = None

    @classmethod
    def recordings(cls, folder: Path, skip_missing: bool = False) -> list[Recording]:
        """The recordings listed in `trials_to_train.txt` and `trials_to_test.txt`, one output per label row.

        One whose labels cannot be read has no outputs; `read` says why.
        """
        found = []
        for part in ("train", "test"):
            lists = raw_files(folder, (f"trials_to_{part}.txt",))
            if len(lists) != 1:
                raise UserError(f"{folder}: expected one trials_to_{part}.txt, found {len(lists)}")
            names = read_list(lists[0])
            missing = [name for name in names if Path(name).name != name or not (lists[0].parent / name).is_file()]
            if missing and not skip_missing:
                raise UserError(
                    f"{lists[0]}: {len(missing)} of {len(names)} recordings are not in {lists[0].parent}: "
                    f"{cache.shortened(missing)}; fetch them, or go on without them by --skip-missing"
                )
            paths = [lists[0].parent / name for name in names if name not in missing]
            found += [Recording(path, _outputs(path, part)) for path in paths]
        return found

    @classmethod
    def read(cls, path: Path) -> Iterator[np.ndarray]:
        """Yield the events of each row of the label file."""
        for _, sample in cut_by_labels(read_aedat3(path), read_labels(label_file(path))):
            yield sample

    @classmethod
    def is_published_set(cls, paths: Iterable[Path]) -> bool:
        """The published recordings are named after the light they were taken in."""
        return any(path.stem.partition("_")[2] in _LIGHTS for path in paths)

    @classmethod
    def counts(cls, outputs: Iterable[str]) -> dict[str, int]:
        """Samples per part."""
        return Counter(output.split("/")[0] for output in outputs)

    @classmethod
    def recording_of(cls, stem: str) -> str:
        """`user01_led` of `user01_led_0`, the sample 0 of it."""
        match = re.fullmatch(r"(user\d+_\w+)_\d+", stem)
        return match[1] if match else ""


def label_file(path: Path) -> Path:
    """Where the labels of a recording are."""
    return path.with_name(f"{path.stem}_labels.csv")


def read_list(path: Path) -> list[str]:
    """The words of a text file.

    Raises:
        UserError: it cannot be read as text.
    """
    try:
        return path.read_text("utf-8-sig").split()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); fetch it again") from error


def _outputs(path: Path, part: str) -> tuple[str, ...]:
    """`<part>/<label>/<recording>_<k>.npz`, k counting the samples of that label in this recording."""
    try:
        categories = read_labels(label_file(path))[:, 0].tolist()
    except UserError:
        return ()
    seen: Counter[int] = Counter()
    names = []
    for category in categories:
        names.append(f"{part}/{category - 1}/{path.stem}_{seen[category]}.npz")
        seen[category] += 1
    return tuple(names)


CARD = event_frames_card(
    DVS128Gesture,
    title="DVS128 Gesture as frames",
    papers="sma, spikingformer, sdt_v3 (gesture)",
    files=DVS128Gesture.archives,
    folder="data/DVS128Gesture",
    flags="-T 16",
    split="published: users 1 to 23 train, 24 to 29 test",
    write_tiny=partial(write_tiny, DVS128Gesture.name),
    expected={**DVS128Gesture.expected, "classes": DVS128Gesture.num_classes},
    class_names=DVS128Gesture.class_names,
)
