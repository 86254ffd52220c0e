"""Train/test splits, and the manifest `split.json` that keeps one beside its data set.

    {"seed": 3404, "train_fraction": 0.9, "sha256": ..., "classes": {class: {"train": [names], "test": [names]}}}

The seeded split of a data set that has no official one is read from its manifest. Where the split is given, by folders
or by a rule, the manifest has `rule` instead of the seed and only tells whether something was moved since.
"""

import hashlib
import json
import math
import os
import random
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError
from common.files import atomic_path

FILE = "split.json"
FIRST_FILE = "split_first.json"
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
            _write(path, {"seed": seed, "train_fraction": TRAIN_FRACTION}, split)
        return split
    manifest = read_split(path)
    compare(path, manifest.names(), {f"{category}/{name}" for category, files in names.items() for name in files})
    return manifest.split


class Manifest(NamedTuple):
    """A stored split."""

    split: Split
    rule: str
    """What divided the recordings, in words."""
    seed: int | None
    """Of a seeded split; its names are those of files, in others they are paths below the folder of a stage."""
    sha256: str

    def names(self) -> set[str]:
        """The paths of all recordings below the folder of a stage."""
        return {
            name if self.seed is None else f"{category}/{name}"
            for category, parts in self.split.items()
            for name in parts["train"] + parts["test"]
        }


def save_split(path: Path, split: Split, rule: str) -> Manifest:
    """Store a split that `rule` gives, and return what is stored; the same split is stored already or not at all.

    Raises:
        UserError: another split is stored there, or the file is damaged.
    """
    if path.exists():
        stored = read_split(path)
        if stored.sha256 != _hash(split):
            raise UserError(
                f"{path}: holds another split ({stored.rule}), which is not overwritten; restore the recordings it "
                "lists, or delete the file for a new split"
            )
        return stored
    _write(path, {"rule": rule}, split)
    return Manifest(split, rule, None, _hash(split))


def read_split(path: Path) -> Manifest:
    """The split stored at `path`.

    Raises:
        UserError: damaged, or changed by hand.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
        split, expected = content["classes"], content["sha256"]
        seed = None if "rule" in content else content["seed"]
        rule = content["rule"] if seed is None else f"seed {seed}, {content['train_fraction']:.0%} of each class train"
        lists = [parts[part] for parts in split.values() for part in ("train", "test")]
        if not all(isinstance(name, str) for names in lists for name in names):
            raise TypeError("names that are no text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a split manifest ({error}); delete it for a new split") from error
    if _hash(split) != expected:
        raise UserError(f"{path}: the lists do not match their sha256; restore the file, or delete it for a new split")
    return Manifest(split, rule, seed, expected)


def compare(path: Path, stored: set[str], found: set[str]) -> None:
    """Make sure that the manifest at `path`, which lists `stored`, fits the recordings `found`.

    Raises:
        UserError: it does not.
    """
    if stored != found:
        raise UserError(
            f"{path}: lists {len(stored)} recordings, the folder holds {len(found)} (differs at "
            f"{min(stored ^ found)}); restore the recordings, or delete the file for a new split"
        )


def _write(path: Path, facts: dict[str, object], split: Split) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({**facts, "sha256": _hash(split), "classes": split}, indent=1) + "\n")


def _hash(split: Split) -> str:
    return hashlib.sha256(json.dumps(split, sort_keys=True).encode()).hexdigest()
