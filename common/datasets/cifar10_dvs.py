"""CIFAR10-DVS: images of CIFAR-10 moving on a screen in front of a DVS128."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from common.conversion.published import Published
from common.datasets.event_frames import EventFrames
from common.datasets.event_frames_card import event_frames_card
from common.events.aedat import read_aedat2
from common.tiny.events import write_tiny


class CIFAR10DVS(EventFrames, Published):
    """CIFAR10-DVS with the seeded 90/10 split of SMA (seed 3404); see `common.conversion.split`."""

    name = "cifar10dvs"
    citation = (
        "Li et al., CIFAR10-DVS: An Event-Stream Dataset for Object Classification, Frontiers in Neuroscience 2017"
    )
    url = "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"
    md5: ClassVar = {
        "airplane.zip": "0afd5c4bf9ae06af762a77b180354fdd",
        "automobile.zip": "8438dfeba3bc970c94962d995b1b9bdd",
        "bird.zip": "a9c207c91c55b9dc2002dc21c684d785",
        "cat.zip": "52c63c677c2b15fa5146a8daf4d56687",
        "deer.zip": "b6bf21f6c04d21ba4e23fc3e36c8a4a3",
        "dog.zip": "f379ebdf6703d16e0a690782e62639c3",
        "frog.zip": "cad6ed91214b1c7388a5f6ee56d08803",
        "horse.zip": "e7cbbf77bec584ffbf913f00e682782a",
        "ship.zip": "41c7bd7d6b251be82557c6cce9a7d5c9",
        "truck.zip": "89f3922fd147d9aeff89e76a2b0b70a7",
    }
    terms = "figshare, see the record"
    archives = "*.zip"
    suffixes = (".aedat",)
    sensor_size = (128, 128)
    num_classes = 10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    expected: ClassVar = dict.fromkeys(class_names, 1000)
    split_seed = 3404

    @classmethod
    def read(cls, path: Path) -> Iterator[np.ndarray]:
        """Yield the one sample of a recording, in the orientation that spikingjelly stores."""
        yield read_aedat2(path, orientation="cifar10dvs")

    @classmethod
    def is_published_set(cls, paths: Iterable[Path]) -> bool:
        """The published folders are named after the classes of CIFAR-10."""
        return any(path.parent.name in cls.class_names for path in paths)

    @classmethod
    def counts(cls, outputs: Iterable[str]) -> dict[str, int]:
        """Recordings per class."""
        return Counter(output.split("/")[-2] for output in outputs)


CARD = event_frames_card(
    CIFAR10DVS,
    title="CIFAR10-DVS as frames",
    papers="sma, spikingformer",
    files="airplane.zip ... truck.zip",
    folder="data/cifar10dvs",
    flags="-T 10",
    split="90 % of each class train: drawn with seed 3404 (sma), the first by name (spikingformer)",
    write_tiny=partial(write_tiny, CIFAR10DVS.name),
    expected=CIFAR10DVS.expected,
)
