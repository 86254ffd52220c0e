"""Done-markers: which stages of a conversion are complete.

`<root>/.done/<stage>.json` says how many files a complete stage holds and hashes their names, so that a folder from
which files were lost, or of which only a part was copied, is told from a complete one. While a stage is being made, the
file says what it is to hold, with `complete` false.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError
from common.files import atomic_path

FOLDER = ".done"
UNPACKED = "unpacked"
UNPACKING = ".extract"
"""Folder of what archives held, removed once it is converted."""

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}(\.\w+)?")


class Listing(NamedTuple):
    """The files of a stage in short."""

    files: int
    sha256: str
    """Of their sorted names, one a line."""
    complete: bool = True
    """Whether they are all made."""


def listing(names: Iterable[str], complete: bool = True) -> Listing:
    """`names`, paths relative to the stage's folder, in short."""
    names = sorted(names)
    return Listing(len(names), hashlib.sha256("\n".join(names).encode()).hexdigest(), complete)


def begin(root: Path, stage: str, names: Iterable[str]) -> None:
    """Write down that `stage` is to hold the files `names` and is not complete yet."""
    _write(root, stage, listing(names, complete=False))


def mark(root: Path, stage: str, names: Iterable[str]) -> None:
    """Write down that `stage` is complete with the files `names`; nothing changes if that stands there already.

    In a folder that cannot be written nothing is noted, and the next call looks at the files again.
    """
    _write(root, stage, listing(names))


def _write(root: Path, stage: str, now: Listing) -> None:
    writable = os.access(root, os.W_OK) or not root.exists()
    if writable and marked(root, stage) != now:
        with atomic_path(_marker(root, stage)) as temporary:
            temporary.write_text(json.dumps(now._asdict(), indent=1) + "\n")


def marked(root: Path, stage: str) -> Listing | None:
    """What `stage` held when it was complete, or is to hold; None without a marker.

    Raises:
        UserError: the marker is damaged.
    """
    path = _marker(root, stage)
    if not path.exists():
        return None
    try:
        return Listing(**json.loads(path.read_text()))
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise UserError(f"{path}: not a done-marker ({error}); delete it and run the conversion again") from error


def is_complete(root: Path, stage: str, names: Iterable[str]) -> bool:
    """Whether `stage` has a marker and holds just the files that it names."""
    return marked(root, stage) == listing(names)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left below `folder`: files and folders under the temporary names of `common.files`."""
    for path in list(folder.rglob(".*")):
        if _TEMPORARY.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _marker(root: Path, stage: str) -> Path:
    return root / FOLDER / f"{stage}.json"
