"""Train/test splits of a data set that has no official one; the seeded one is kept in `split.json`."""

import hashlib
import json
import math
import os
import random
from pathlib import Path

from common.errors import UserError
from common.files import atomic_path

FILE = "split.json"
TRAIN_FRACTION = 0.9

Split = dict[str, dict[str, list[str]]]
"""{class: {"train": file names, "test": file names}}."""


def make_split(names: dict[str, list[str]], seed: int) -> Split:
    """Shuffle the sorted file names of each class and give the first int(0.9 n) to training.

    One generator seeded once serves all classes in sorted order (SMA, `Divide` scripts; sorting added, because the
    original followed the order of the file system).
    """
    generator = random.Random(seed)
    split = {}
    for category in sorted(names):
        files = sorted(names[category])
        generator.shuffle(files)
        cut = int(TRAIN_FRACTION * len(files))
        split[category] = {"train": files[:cut], "test": files[cut:]}
    return split


def first_split(names: dict[str, list[str]]) -> Split:
    """Give the first ceil(0.9 n) file names of each class, in lexicographic order (`_1`, `_10`, `_2`), to training.

    This is the split of spikingjelly's `split_to_train_test_set`, which Spikingformer uses.
    """
    split = {}
    for category in sorted(names):
        files = sorted(names[category])
        cut = math.ceil(TRAIN_FRACTION * len(files))
        split[category] = {"train": files[:cut], "test": files[cut:]}
    return split


def load_split(root: Path, names: dict[str, list[str]], seed: int) -> Split:
    """The split stored in `<root>/split.json`; made and stored if there is none yet.

    In a folder that cannot be written the split is made anew each time, which gives the same one.

    Args:
        root: the folder of the converted data set.
        names: {class: file names} as they are on disk now.
        seed: seed of a new split.

    Raises:
        UserError: the stored split is damaged, or does not list exactly the files on disk.
    """
    path = root / FILE
    if not path.exists():
        split = make_split(names, seed)
        if os.access(root, os.W_OK):
            _store(path, split, seed)
        return split
    split = _read(path)
    stored = {(category, name) for category, parts in split.items() for name in parts["train"] + parts["test"]}
    found = {(category, name) for category, files in names.items() for name in files}
    if stored != found:
        example = "/".join(min(stored ^ found))
        raise UserError(
            f"{path}: lists {len(stored)} recordings, the folder holds {len(found)} (differs at {example}); "
            "restore the recordings, or delete the file for a new split"
        )
    return split


def _store(path: Path, split: Split, seed: int) -> None:
    content = {"seed": seed, "train_fraction": TRAIN_FRACTION, "sha256": _hash(split), "classes": split}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def _read(path: Path) -> Split:
    try:
        content = json.loads(path.read_text())
        split, expected = content["classes"], content["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a split manifest ({error}); delete it for a new split") from error
    if _hash(split) != expected:
        raise UserError(f"{path}: the lists do not match their sha256; restore the file, or delete it for a new split")
    return split


def _hash(split: Split) -> str:
    return hashlib.sha256(json.dumps(split, sort_keys=True).encode()).hexdigest()
