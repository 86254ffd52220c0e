"""ImageNet (ILSVRC 2012) from the three published archives to `{train,val}/<synset>/*.JPEG`.

The validation images come in one folder; the ground truth of the development kit says which synset each shows.
"""

import argparse
import re
import shutil
import tarfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.archives import extract, open_tar
from common.conversion.prepare import Prepared
from common.conversion.stages import UNPACKING
from common.errors import UserError

TRAIN, VAL, KIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
SYNSET = re.compile(r"n\d{8}")
PICTURES = (".JPEG",)


class Truth(NamedTuple):
    """What the development kit says of the images."""

    train: dict[str, int]
    """Training images of each synset."""
    val: list[str]
    """The synset of each validation image."""


def is_unpacked(source: Path) -> bool:
    """Whether there are class folders already."""
    return (source / "train").is_dir()


def convert(options: argparse.Namespace) -> Prepared:
    """Unpack the archives in `options.source` to `options.output`; a part that is there is kept, an interrupted one
    goes on with the synset that it had come to.

    Raises:
        UserError: an archive is missing or damaged, or its images are not those of the development kit.
    """
    source, output = options.source, options.output
    if missing := [name for name in (TRAIN, VAL, KIT) if not (source / name).is_file()]:
        raise UserError(
            f"{source}: expected {TRAIN}, {VAL} and {KIT}, or class folders in train and val; there is no "
            f"{', '.join(missing)}: fetch it from https://image-net.org"
        )
    work = output / UNPACKING
    truth = read_kit(extract(source / KIT, work / "kit", suffixes=(".mat", GROUND_TRUTH)))
    if not (output / "train").is_dir():
        unpack_train(source / TRAIN, work / "train", truth.train).replace(output / "train")
    if not (output / "val").is_dir():
        sort_val(extract(source / VAL, work / "images", suffixes=PICTURES), work / "val", truth.val, source / VAL)
        (work / "val").replace(output / "val")
    shutil.rmtree(work)
    found = {folder.name: len(list(folder.glob("*.JPEG"))) for folder in (output / "train").iterdir()}
    return Prepared(
        output,
        [
            f"{output / 'train' / synset} has {found.get(synset, 0)} images, the development kit says {count}"
            for synset, count in truth.train.items()
            if found.get(synset, 0) != count
        ],
    )


def read_kit(folder: Path) -> Truth:
    """The synsets and labels in an unpacked development kit.

    Raises:
        UserError: files are missing or hold something else.
    """
    try:
        (meta,), (labels,) = (list(folder.rglob(name)) for name in ("meta.mat", GROUND_TRUTH))
        with ProcessPoolExecutor(1) as pool:  # SciPy can end a process on a damaged file
            synsets = pool.submit(_synsets, meta).result()
        leaves = synsets[synsets["num_children"].astype(int) == 0]  # the classes; the others are groups of them
        names = dict(zip(leaves["ILSVRC2012_ID"].astype(int).tolist(), leaves["WNID"].tolist(), strict=True))
        counts = dict(zip(leaves["WNID"].tolist(), leaves["num_train_images"].astype(int).tolist(), strict=True))
        val = [names[label] for label in np.loadtxt(labels, dtype=int, ndmin=1).tolist()]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, BrokenProcessPool) as error:
        raise UserError(f"{folder}: not the development kit of ILSVRC 2012 ({error!r}); fetch {KIT} again") from error
    if strange := [name for name in counts if not SYNSET.fullmatch(str(name))]:
        raise UserError(f"{folder}: {strange[0]!r} is no synset such as n01440764; fetch {KIT} again")
    return Truth(counts, val)


def _synsets(meta: Path) -> np.ndarray:
    from scipy.io import loadmat

    return loadmat(meta, squeeze_me=True)["synsets"]


def unpack_train(archive: Path, folder: Path, synsets: dict[str, int]) -> Path:
    """Unpack the archives of the synsets within `archive` to `<folder>/<synset>`; returns `folder`.

    Raises:
        UserError: it is damaged, or has other synsets.
    """
    try:
        with open_tar(archive) as bundle:
            for member in bundle:
                synset = member.name.removesuffix(".tar")
                if synset not in synsets or not member.isfile():
                    raise UserError(f"{archive}: member {member.name!r} is no archive of a synset; fetch it again")
                extract(archive, folder / synset, suffixes=PICTURES, inside=bundle.extractfile(member))
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"{archive}: damaged or incomplete ({error}); fetch the archive again") from error
    if missing := [synset for synset in synsets if not (folder / synset).is_dir()]:
        raise UserError(f"{archive}: {len(missing)} synsets are missing, such as {missing[0]}; fetch the archive again")
    return folder


def sort_val(images: Path, folder: Path, labels: Sequence[str], archive: Path) -> None:
    """Move image number n of the flat folder `images` to `<folder>/<its synset>`.

    Raises:
        UserError: there are other images than labels.
    """
    places = {f"ILSVRC2012_val_{number:08}.JPEG": folder / synset for number, synset in enumerate(labels, start=1)}
    found = {path.name: path for path in images.rglob("*.JPEG")}
    there = {path.name for path in folder.glob("*/*.JPEG")}
    if found.keys() | there != places.keys():
        raise UserError(
            f"{archive} has {len(found.keys() | there)} images, the development kit has labels for {len(places)}, of "
            f"the names {min(places)} to {max(places)}; fetch both again"
        )
    for name, path in found.items():
        places[name].mkdir(parents=True, exist_ok=True)
        path.replace(places[name] / name)
