"""One writer per folder: a lock that the kernel releases when its process ends, however it ends."""

import errno
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from common.errors import UserError
from common.files import UNWRITABLE, make_folder

FILE = ".lock"
_held: set[Path] = set()
"""Folders that this process has locked: closing a second handle would release the first one's lock."""


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Be the only process that writes to `folder`, by a POSIX lock on the file `.lock` in it.

    Such locks work between machines where NFS has a lock server. Where there are none a warning says so, and in a
    folder that cannot be written nothing is locked.

    Raises:
        UserError: another process has the lock; the message names it.
    """
    folder = Path(folder)
    real = folder.resolve()
    if real in _held:
        yield
        return
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    file = _lock(folder)
    if file is None:
        yield
        return
    with file:
        _held.add(real)
        try:
            yield
        finally:
            _held.discard(real)
            with suppress(OSError):
                (folder / FILE).unlink()
                for place in made:  # what stayed empty
                    place.rmdir()


def _lock(folder: Path) -> IO[str] | None:
    """The lock file, locked; None where there is no lock to be had."""
    path = make_folder(folder) / FILE
    while True:
        try:
            file = path.open("a+")
        except OSError as error:
            if error.errno in UNWRITABLE:
                return None
            raise
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            return _warn(folder, "this system has no POSIX locks")
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return _warn(folder, error.strerror)
            file.seek(0)
            owner = file.read(200).strip() or "unknown"
            raise UserError(
                f"{folder}: another process writes there ({owner}); wait for it, end it, or choose another folder"
            ) from error
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()  # the process that had it removed the file in the meantime
    with suppress(OSError):  # a full disk
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}: {' '.join(sys.argv)[:120]}")
        file.flush()
    return file


def _warn(folder: Path, reason: str) -> None:
    warnings.warn(f"{folder}: cannot be locked ({reason}); make sure that only one process writes there", stacklevel=3)
