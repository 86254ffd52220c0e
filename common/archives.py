"""Unpacking tar.gz and zip archives that came from somewhere else.

Every member name is checked before a byte of it is written, and everything lands in a temporary folder that takes its
final name only when the whole archive was good.
"""

import gzip
import shutil
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from tqdm import tqdm

from common.errors import UserError
from common.files import make_folder

MAX_RATIO = 100
"""Event recordings shrink five- to tenfold; an archive that claims a hundredfold is not one of them."""
MAX_BYTES = 256 << 30
_SMALL = 64 << 20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, NotImplementedError)


def extract(
    archive: str | Path, destination: str | Path, *, suffixes: tuple[str, ...], inside: IO[bytes] | None = None
) -> Path:
    """Unpack the members of `archive` whose names end in `suffixes` into the new folder `destination`.

    An existing `destination` is the result of an earlier, complete call and is returned as it is. All members are
    checked, also those that are not wanted.

    Args:
        archive: a `.zip`, `.tar.gz` or `.tar` file.
        destination: the folder to create.
        suffixes: endings of the wanted names, for example (".aedat", ".csv").
        inside: a tar file within `archive` that is unpacked in its place.

    Returns:
        `destination`.

    Raises:
        UserError: not an archive, damaged, or with a member that is absolute, climbs out with '..', is a link or a
            device, occurs twice, or expands absurdly.
    """
    archive, destination = Path(archive), Path(destination)
    if destination.is_dir():
        return destination
    make_folder(destination.parent)
    temporary = destination.with_name(f".{destination.name}.{uuid.uuid4().hex[:8]}")
    try:
        make_folder(temporary)
        _unpack(archive, temporary, suffixes, inside)
        temporary.replace(destination)
    except _DAMAGE as error:
        raise UserError(f"{archive}: damaged or incomplete ({error}); fetch the archive again") from error
    except OSError as error:
        raise UserError(
            f"{archive}: cannot be unpacked to {destination} ({error}); fetch it again or make room"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return destination


def _unpack(archive: Path, folder: Path, suffixes: tuple[str, ...], inside: IO[bytes] | None) -> None:
    limit = min(MAX_BYTES, max(_SMALL, MAX_RATIO * archive.stat().st_size))
    seen: set[PurePosixPath] = set()
    total = 0
    for name, size, stream in tqdm(_members(archive, inside), desc=f"unpack {archive.name}", unit="file", disable=None):
        path = _safe_name(name, archive)
        if path in seen:
            raise UserError(f"{archive}: member {name!r} occurs twice; refused")
        seen.add(path)
        total += size
        if total > limit:
            raise UserError(f"{archive}: member {name!r} expands the content to over {limit} bytes; refused")
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if name.endswith(suffixes) and not hidden:
            make_folder(folder / path.parent)
            with (folder / path).open("wb") as target:
                shutil.copyfileobj(stream, target, 1 << 20)


def _members(archive: Path, inside: IO[bytes] | None) -> Iterator[tuple[str, int, IO[bytes]]]:
    """(name, size in bytes, open stream) of each regular member, in archive order; folders are passed over."""
    if inside is None and zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for entry in bundle.infolist():
                mode = entry.external_attr >> 16
                # The top four bits are the POSIX file type: 0 (not recorded), 0o10 (regular) or 0o04 (folder).
                if mode >> 12 not in (0, 0o10, 0o04):
                    raise UserError(f"{archive}: member {entry.filename!r} is a link or a device; refused")
                if entry.flag_bits & 1:
                    raise UserError(f"{archive}: member {entry.filename!r} is encrypted; unpack it yourself first")
                if not entry.is_dir():
                    with bundle.open(entry) as stream:
                        yield entry.filename, entry.file_size, stream
                else:
                    _safe_name(entry.filename, archive)
    elif tarfile.is_tarfile(inside or archive):
        with tarfile.open(archive, "r:*", inside) as bundle:
            for member in bundle:
                if member.isdir():
                    _safe_name(member.name, archive)
                elif not member.isfile():
                    raise UserError(f"{archive}: member {member.name!r} is a link or a device; refused")
                else:
                    yield member.name, member.size, bundle.extractfile(member)
    else:
        raise UserError(f"{archive}: neither a zip nor a tar archive; fetch it again")


def _safe_name(name: str, archive: Path) -> PurePosixPath:
    """`name` as a relative path, or a UserError if it could lead out of the folder it is unpacked into."""
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise UserError(f"{archive}: member {name!r} points outside the archive; refused")
    return path
