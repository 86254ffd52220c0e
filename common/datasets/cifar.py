"""CIFAR10 and CIFAR100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html), through torchvision.

| | transforms |
|---|---|
| training | random crop of 32 from 40 padded pixels, mirrored every other time, normalisation |
| evaluation | normalisation |
"""

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from common.conversion.view import PARTS, Entry, View
from common.datasets.card import DataSet
from common.datasets.imagenet import image_folder, image_view, load_rgb
from common.errors import UserError
from common.tiny.images import write_tiny_images

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10
    from torchvision.transforms import v2

SIZE = 32
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
"""(mean, standard deviation) of the colours, as GAC normalises them."""
CLASSES = {"cifar10": 10, "cifar100": 100}


@cache
def datasets() -> "dict[str, type[CIFAR10]]":
    """The classes of torchvision by the names of their sets."""
    from torchvision.datasets import CIFAR10, CIFAR100  # takes two seconds, which only those pay who load images

    return {"cifar10": CIFAR10, "cifar100": CIFAR100}


def train_transform(name: str, augment: bool = True, normalise: bool = True) -> "v2.Compose":
    """PIL image to float32 `[3, 32, 32]`, augmented."""
    from torchvision.transforms import v2

    steps = [v2.RandomCrop(SIZE, padding=4), v2.RandomHorizontalFlip()] if augment else []
    return v2.Compose([*steps, *_to_tensor(name, normalise)])


def eval_transform(name: str, normalise: bool = True) -> "v2.Compose":
    """PIL image to float32 `[3, 32, 32]`."""
    from torchvision.transforms import v2

    return v2.Compose(_to_tensor(name, normalise))


def _to_tensor(name: str, normalise: bool) -> "list[v2.Transform]":
    from torchvision.transforms import v2

    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    return [*steps, v2.Normalize(*STATISTICS[name])] if normalise else steps


def cifar(name: str, root: str | Path, train: bool, transform: "v2.Transform", *, published: bool = True) -> Dataset:
    """A part of CIFAR; it has `classes`.

    Args:
        name: "cifar10" or "cifar100".
        root: folder of `cifar-10-batches-py` or `cifar-100-python`, or that folder itself; or a folder with images of
            32 x 32 pixels as {train,test}/<class>/<image>.
        train: the training or the test part.
        transform: applied to each PIL image.
        published: compare the checksums of the published files. The files are pickles, which can run code when they
            are read, so leave it on for files that this program did not write itself.

    Raises:
        UserError: the data are not there, or not the published ones.
    """
    root, cls = Path(root), datasets()[name]
    if root.name == cls.base_folder:
        root = root.parent
    if (root / "train").is_dir():
        return image_folder(root / ("train" if train else "test"), transform, _load_small)
    try:
        return (cls if published else _unchecked(cls))(root, train, transform)
    except RuntimeError as error:
        raise UserError(
            f"{root / cls.base_folder}: the data set is not there or its checksums are wrong; with a network add "
            f"--download, else fetch {cls.url} elsewhere, unpack it in {root}, and give that folder by --data-path"
        ) from error


def _load_small(path: str) -> Image.Image:
    image = load_rgb(path)
    if image.size != (SIZE, SIZE):
        width, height = image.size
        raise UserError(f"{path}: has {width} x {height} pixels, expected {SIZE} x {SIZE}; resize all images to that")
    return image


def download(name: str, root: str | Path) -> None:
    """Fetch and unpack the published archive into `root`, unless it is there already.

    Raises:
        UserError: it cannot be fetched.
    """
    try:
        datasets()[name](root, download=True)
    except (OSError, RuntimeError) as error:
        url, reason = datasets()[name].url, " ".join(str(getattr(error, "reason", error)).split())
        what = f"no network: {url}" if isinstance(error, URLError) else url
        raise UserError(
            f"{what} could not be fetched ({reason}); fetch it on another machine and unpack it in {root}"
        ) from error


def _unchecked(cls: "type[CIFAR10]") -> "type[CIFAR10]":
    """`cls` for files that have no published checksum: torchvision then only looks whether they exist."""
    train_list, test_list = ([[file, None] for file, _ in parts] for parts in (cls.train_list, cls.test_list))
    return type(
        cls.__name__, (cls,), {"train_list": train_list, "test_list": test_list, "meta": cls.meta | {"md5": None}}
    )


def cifar_views(name: str, root: Path) -> list[View]:
    """The pictures of CIFAR, as published or in class folders.

    Raises:
        UserError: not there, or not the published files.
    """
    home = datasets()[name].base_folder
    if root.name != home and not any((root / folder).is_dir() for folder in (home, "train")):
        raise UserError(
            f"{root}: expected {home} or {{train,test}}/<class>/<image>; fetch {datasets()[name].url}, unpack it, and "
            f"give the folder that {home} is in"
        )
    from torchvision.datasets import ImageFolder

    parts = {part: cifar(name, root, part == "train", None) for part in PARTS}
    if isinstance(parts["train"], ImageFolder):
        return [image_view(root, parts)]
    entries = [
        Entry(part, data.classes[label], root / part, index=index)
        for part, data in parts.items()
        for index, label in enumerate(data.targets)
    ]
    return [View("pictures", root, entries, partial(_read_cifar, name, root), uniform=True)]


def _read_cifar(name: str, root: Path, entry: Entry) -> np.ndarray:
    return _cifar_pixels(name, root, entry.part == "train")[entry.index]


@cache
def _cifar_pixels(name: str, root: Path, train: bool) -> np.ndarray:
    return cifar(name, root, train, None).data


def _card(name: str) -> DataSet:
    return DataSet(
        name=name,
        title=f"CIFAR-{CLASSES[name]}",
        papers="gac, ma_snn, spikingformer",
        form="pictures",
        files=f"cifar-{CLASSES[name]}-python.tar.gz, unpacked",
        url="https://www.cs.toronto.edu/~kriz/cifar.html",
        folder="data",
        split="published",
        views=partial(cifar_views, name),
        write_tiny=partial(write_tiny_images, name),
        expected={"train": 50_000, "test": 10_000, "classes": CLASSES[name]},
        is_published=lambda entries: entries[0].index is not None,
        official_twins=True,
    )


CIFAR10, CIFAR100 = _card("cifar10"), _card("cifar100")
