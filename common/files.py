"""Writing files so that an interrupted run never leaves half of one behind."""

import errno
import hashlib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import OutputError

UNWRITABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENOENT,
    errno.ENOTDIR,
)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The temporary name keeps the suffix of `path`, because writers such as `numpy.savez` choose the format by it.

    Raises:
        OutputError: the folder of `path` cannot be written, or the disk is full.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno not in UNWRITABLE or (error.errno == errno.ENOENT and path.parent.is_dir()):
            raise
        raise OutputError(
            f"cannot write {path}: {error.strerror}; choose a folder that is yours and has room"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: str | Path) -> Path:
    """Create `path` with its parents and return it.

    Raises:
        OutputError: the folder cannot be made or is not a folder.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the folder {path}: {error.strerror}; choose one you may write to") from error
    return path


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is no data: hidden, or left behind by macOS or Windows."""
    return name.startswith(".") or name == "__MACOSX" or name.lower() in ("thumbs.db", "desktop.ini")


def without_litter(paths: Iterable[Path], folder: Path) -> list[Path]:
    """Those of `paths`, sorted, on whose way from `folder` there is no litter."""
    return sorted(path for path in paths if not any(map(is_litter, path.relative_to(folder).parts)))


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
