"""N-Caltech101: images of Caltech101 seen by an ATIS camera that makes three saccades."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from common.conversion.published import Published
from common.datasets.event_frames import EventFrames
from common.datasets.event_frames_card import event_frames_card
from common.events.atis import read_atis
from common.tiny.events import write_tiny


class NCaltech101(EventFrames, Published):
    """N-Caltech101 with the seeded 90/10 split of SMA (seed 3402); see `common.conversion.split`.

    Any other folder of ATIS recordings, `<class>/*.bin` or officially split `{Train,Test}/<class>/*.bin`, can be
    converted the same way (N-MNIST, for example); then classes and sensor size come from the data.
    """

    name = "ncaltech101"
    citation = "Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, 2015"
    url = "https://www.garrickorchard.com/datasets/n-caltech101"
    md5: ClassVar = {"Caltech101.zip": "66201824eabb0239c7ab992480b50ba3"}
    terms = "see the authors' page; N-MNIST: CC BY-SA 4.0"
    archives = "Caltech101.zip"
    suffixes = (".bin",)
    sensor_size = (180, 240)
    sensor_from_data = True
    num_classes = 101
    expected: ClassVar = {"class folders": 101}
    split_seed = 3402

    @classmethod
    def read(cls, path: Path) -> Iterator[np.ndarray]:
        """Yield the one sample of a recording."""
        yield read_atis(path)

    @classmethod
    def is_published_set(cls, paths: Iterable[Path]) -> bool:
        """The published set has a folder of background images, which nothing else has."""
        return any(path.parent.name == "BACKGROUND_Google" for path in paths)

    @classmethod
    def counts(cls, outputs: Iterable[str]) -> dict[str, int]:
        """Number of class folders."""
        return {"class folders": len({output.split("/")[-2] for output in outputs})}


CARD = event_frames_card(
    NCaltech101,
    title="N-Caltech101 as frames; or any folder of ATIS recordings, N-MNIST for example",
    papers="sma",
    files=NCaltech101.archives,
    folder="data/NCaltech101",
    flags="-T 14",
    split="90 % of each class train, drawn with seed 3402; folders Train and Test are kept",
    write_tiny=partial(write_tiny, NCaltech101.name),
    expected={"classes": NCaltech101.num_classes},
)
