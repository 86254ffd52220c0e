"""ADE20K for scene parsing (SceneParsing, ADEChallengeData2016), or any pictures beside maps of labels.

`images/{training,validation}/*.jpg` and `annotations/{training,validation}/*.png` of the same names. In a map 0 is not
labelled and ignored, as is 255; 1, 2, ... are the classes 0, 1, ... How many there are says `objectInfo150.txt` (150),
`classes.txt` (a name per line), or else the largest label of the training maps.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch.utils.data import Dataset

from common.analysis.samples import Reading
from common.conversion.view import Entry, View
from common.datasets.card import DataSet
from common.datasets.imagenet import load_rgb
from common.errors import UserError
from common.tiny.scenes import write_tiny_scenes
from sdt_v3.losses import IGNORED

PARTS = {True: ("training", "train"), False: ("validation", "val", "test")}
"""Names of the training and the evaluation part; the first that exists is taken."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class SceneParsing(Dataset):
    """Pictures with a class for each pixel.

    A sample is what `transform` makes of (RGB picture, labels uint8 `[H, W]`), in which 255 is ignored.

    Args:
        root: the folder that holds `images` and `annotations`.
        train: the training part.
        transform: see `data.dense_transforms`; None leaves samples as they are.
        num_classes: of a set that does not say it.

    Attributes:
        classes: names by label.
        files: (picture, map) of each sample.

    Raises:
        UserError: missing folders or maps.
    """

    name = "ade20k"
    url = "http://sceneparsing.csail.mit.edu"

    def __init__(
        self, root: str | Path, train: bool, transform: Callable | None = None, num_classes: int | None = None
    ):
        root = Path(root)
        part = next((name for name in PARTS[train] if (root / "images" / name).is_dir()), None)
        if part is None:
            raise UserError(
                f"there is no folder {root / 'images' / PARTS[train][0]}; expected ADE20K's layout, images/"
                f"{PARTS[train][0]}/*.jpg beside annotations/{PARTS[train][0]}/*.png: fetch ADEChallengeData2016 from "
                f"{self.url} and give its folder by --data_path"
            )
        self.transform, maps = transform, root / "annotations" / part
        pictures = sorted(p for p in (root / "images" / part).iterdir() if p.suffix.lower() in SUFFIXES)
        self.files = [(picture, maps / f"{picture.stem}.png") for picture in pictures]
        if not self.files:
            raise UserError(f"{root / 'images' / part} holds no pictures; expected {', '.join(SUFFIXES)} files")
        if missing := [labels for _, labels in self.files if not labels.is_file()]:
            raise UserError(f"there is no map {missing[0]} of labels ({len(missing)} are missing); fetch them again")
        self.classes = [str(label) for label in range(num_classes)] if num_classes else class_names(root)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def reading(self) -> Reading:
        """How a picture is read for a test, with such a `transform`."""
        return Reading(fit=self.transform.scale)

    def __getitem__(self, index: int) -> tuple:
        sample = self.read(index)
        return self.transform(*sample) if self.transform else sample

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Picture and labels.

        Raises:
            UserError: a damaged file, sizes that differ, or a label that is no class.
        """
        path, maps = self.files[index]
        picture, labels = load_rgb(str(path)), read_map(maps)
        if labels.shape != picture.size[::-1]:
            raise UserError(
                f"{maps} is {labels.shape[1]} x {labels.shape[0]}, but {path} {picture.size[0]} x {picture.size[1]}; "
                "give a label for each pixel"
            )
        unknown = labels[(labels > len(self.classes)) & (labels != IGNORED)]
        if len(unknown):
            raise UserError(
                f"{maps} has the label {unknown[0]}, but there are {len(self.classes)} classes; labels count from 1"
            )
        return picture, np.where((labels == 0) | (labels == IGNORED), IGNORED, labels - 1).astype(np.uint8)


def read_map(path: Path) -> np.ndarray:
    """The labels in a file, uint8 `[H, W]`.

    Raises:
        UserError: damaged, or a picture with colours.
    """
    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"{path}: cannot be read as a map of labels ({error}); fetch it again") from error
    if labels.ndim != 2 or labels.min() < 0 or labels.max() > IGNORED:
        raise UserError(f"{path}: expected one label 0 to {IGNORED} for each pixel, found a {image.mode} picture")
    return labels.astype(np.uint8)


def class_names(root: Path) -> list[str]:
    """Names of the classes of a set, or numbers for those that have none.

    Raises:
        UserError: nothing says how many there are.
    """
    published, listed = root / "objectInfo150.txt", root / "classes.txt"
    if published.is_file():
        rows = published.read_text().splitlines()[1:]
        return [row.split("\t")[-1].split(",")[0].strip() for row in rows if row.strip()]
    if listed.is_file():
        return [line.strip() for line in listed.read_text().splitlines() if line.strip()]
    folder = next((root / "annotations" / name for name in PARTS[True] if (root / "annotations" / name).is_dir()), None)
    maps = sorted(folder.glob("*.png")) if folder else []
    largest = max((int(labels[labels != IGNORED].max(initial=0)) for labels in map(read_map, maps)), default=0)
    if not largest:
        raise UserError(f"{root} says nowhere how many classes there are; add classes.txt, a name per line")
    return [str(label) for label in range(1, largest + 1)]


def ade20k_views(root: Path) -> list[View]:
    """The pictures of both parts."""
    parts = {"train": SceneParsing(root, True), "val": SceneParsing(root, False)}
    entries = [
        Entry(part, "pictures", path, index=index)
        for part, data in parts.items()
        for index, (path, _) in enumerate(data.files)
    ]
    read, show = (partial(function, parts) for function in (_read, _show))
    return [View("pictures", root, entries, read, show=show)]


def _read(parts: Mapping[str, SceneParsing], entry: Entry) -> np.ndarray:
    return np.asarray(parts[entry.part].read(entry.index)[0])


def _show(parts: Mapping[str, SceneParsing], entry: Entry) -> np.ndarray:
    from sdt_v3.dense_pictures import draw_labels

    picture, labels = parts[entry.part].read(entry.index)
    return draw_labels(np.asarray(picture), labels)


CARD = DataSet.of(
    SceneParsing,
    title="ADE20K for scene parsing, or any pictures beside maps of labels",
    papers="sdt_v3",
    form="pictures",
    files="ADEChallengeData2016.zip, unpacked",
    folder="data/ADEChallengeData2016",
    split="published: training and validation",
    views=ade20k_views,
    write_tiny=partial(write_tiny_scenes, "ade20k"),
    expected={"train": 20_210, "val": 2_000},
    is_published=lambda entries: any(entry.path.name == "ADE_train_00020210.jpg" for entry in entries),
    terms="BSD 3 for annotations and software; pictures for research and education",
)
