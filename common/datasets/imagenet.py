"""ImageNet, or any set of images in class folders, as the MS-ResNet family reads it.

| | transforms |
|---|---|
| training | random crop of 8 to 100 % of the area, AutoAugment (ImageNet policy), normalisation; no mirroring |
| evaluation | short side to 256/224 of the image size, centre crop, normalisation |
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from common.conversion.view import Entry, View
from common.datasets import imagenet_archives
from common.datasets.card import DataSet
from common.datasets.shards import Shards, has_shards, write_shards
from common.errors import UserError
from common.pictures import read_picture
from common.tiny.images import write_tiny_images

if TYPE_CHECKING:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PARTS = {True: ("train",), False: ("val", "validation", "test")}
"""Folder names of the training and the evaluation part; the first that exists is taken."""


_SYNSET_IMAGE = re.compile(r"n\d{8}_\w+|ILSVRC2012_val_\d+")
"""Names that ImageNet gives to one picture each; other sets may number theirs anew in each folder."""


def train_transform(size: int = 224, min_area: float = 0.08, auto_augment: bool = True) -> "v2.Compose":
    """PIL image to float32 `[3, size, size]`, augmented."""
    from torchvision.transforms import v2

    policy = [v2.AutoAugment()] if auto_augment else []
    return v2.Compose([v2.RandomResizedCrop(size, scale=(min_area, 1.0)), *policy, *to_tensor()])


def eval_transform(size: int = 224) -> "v2.Compose":
    """PIL image to float32 `[3, size, size]`, its centre."""
    from torchvision.transforms import v2

    return v2.Compose([*centre(size), *to_tensor()])


def centre(size: int) -> "list[v2.Transform]":
    """PIL image to the part of it that is evaluated."""
    from torchvision.transforms import v2

    return [v2.Resize(size * 256 // 224), v2.CenterCrop(size)]


def to_tensor(mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> "list[v2.Transform]":
    """PIL image to normalised float32 `[3, H, W]`."""
    from torchvision.transforms import v2

    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]


def imagenet(root: str | Path, train: bool, transform: "v2.Transform") -> "ImageFolder | Shards":
    """The images of `root`/train/<class>, or of `root`/val, `root`/validation or `root`/test, in files or shards.

    Labels are positions in the sorted class names; for ImageNet's synset folders that is the usual order.

    Raises:
        UserError: no such folder, or no images in class folders below it.
    """
    folders = [Path(root) / name for name in PARTS[train]]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise UserError(
            f"there is no folder {' or '.join(map(str, folders))}; expected images as {folders[0]}/<class>/<image>: "
            "fetch ImageNet (ILSVRC 2012) from https://image-net.org, unpack it by `python tools/convert_dataset.py "
            "prepare imagenet`, and give its folder by --data-path"
        )
    return Shards(folder, transform) if has_shards(folder) else image_folder(folder, transform)


def load_rgb(path: str) -> Image.Image:
    """The RGB image in a file; see `read_picture`."""
    return read_picture(path, "RGB")


def image_folder(
    folder: Path, transform: "v2.Transform", loader: Callable[[str], Image.Image] = load_rgb
) -> "ImageFolder":
    """The images of `folder`/<class>, each read by `loader`.

    Raises:
        UserError: no class folders, or one without images.
    """
    from common.datasets.class_folders import ClassFolders  # imports torchvision

    try:
        return ClassFolders(str(folder), transform, loader)
    except OSError as error:
        reason = str(error).partition(" Supported extensions")[0].rstrip(".")
        raise UserError(
            f"{folder}: {reason}; expected {folder}/<class>/<image>, with the validation images sorted into class "
            "folders too"
        ) from error


def check_classes(train_set: "ImageFolder", test_set: "ImageFolder") -> None:
    """Make sure that a label means the same in both parts.

    Raises:
        UserError: their class folders differ.
    """
    if train_set.classes != test_set.classes:
        example = min(set(train_set.classes) ^ set(test_set.classes))
        raise UserError(
            f"{train_set.root} has {len(train_set.classes)} class folders, {test_set.root} has "
            f"{len(test_set.classes)}, and only one has {example}; the two must have the same"
        )


def imagenet_views(root: Path) -> list[View]:
    """The pictures of ImageNet, or of another set in the same folders."""
    parts = {train: imagenet(root, train, None) for train in (True, False)}
    check_classes(parts[True], parts[False])
    return [image_view(root, {Path(data.root).name: data for data in parts.values()})]


def shard_imagenet(root: Path, folder: Path, size: int) -> None:
    """Write the class folders of both parts below `root` as shards of `size` pictures below `folder`."""
    parts = {train: imagenet(root, train, None) for train in (True, False)}
    check_classes(*parts.values())
    for data in parts.values():
        if isinstance(data, Shards):
            raise UserError(f"{data.root}: these are shards already; give the folder of the pictures")
        write_shards(data.samples, data.classes, folder / Path(data.root).name, size)


def image_view(root: Path, parts: "dict[str, ImageFolder]") -> View:
    """The pictures of all `parts`, {name: pictures}."""
    entries = [
        Entry(
            part,
            data.classes[label],
            Path(path),
            stem if _SYNSET_IMAGE.fullmatch(stem := Path(path).stem) else "",
            index if isinstance(data, Shards) else None,
        )
        for part, data in parts.items()
        for index, (path, label) in enumerate(data.samples)
    ]
    return View("pictures", root, entries, partial(_read_image, parts))


def _read_image(parts: "dict[str, ImageFolder | Shards]", entry: Entry) -> np.ndarray:
    whole = load_rgb(str(entry.path)) if entry.index is None else parts[entry.part].picture(entry.index)
    return np.asarray(whole)


def _whole_imagenet(entries: Sequence[Entry]) -> bool:
    synsets = {entry.category for entry in entries if entry.recording}
    return len(synsets) == 1000


CARD = DataSet(
    name="imagenet",
    title="ImageNet (ILSVRC 2012)",
    papers="sma, ma_snn, gac, spikingformer, sdt_v3",
    form="pictures",
    files=f"{imagenet_archives.TRAIN}, {imagenet_archives.VAL} and {imagenet_archives.KIT}",
    url="https://image-net.org",
    folder="data/ImageNet2012",
    split="published: folders train and val",
    views=imagenet_views,
    convert=imagenet_archives.convert,
    is_ready=imagenet_archives.is_unpacked,
    write_tiny=partial(write_tiny_images, "imagenet"),
    expected={"train": 1_281_167, "val": 50_000},
    is_published=_whole_imagenet,
    official_twins=True,
    shard=shard_imagenet,
)
