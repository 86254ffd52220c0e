"""Unpacking tar.gz and zip archives that came from somewhere else.

Every member name is checked before a byte of it is written, and everything lands in a temporary folder that takes its
final name only when the whole archive was good.
"""

import lzma
import shutil
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from tqdm import tqdm

from common.errors import UserError, reason_of
from common.files import is_litter, make_folder, without_litter

MAX_RATIO = 100
"""Event recordings shrink five- to tenfold; an archive that claims a hundredfold is not one of them."""
MAX_BYTES = 256 << 30
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
"""Of the names of archives."""
_SMALL = 64 << 20
_NESTED = 2
"""Archives within archives are unpacked so many times over."""
_HEADER_WORK = 1 << 28
"""Limit of the sum of the squares of a tar file's extended headers in bytes: `tarfile` may need as many steps."""


def extract(
    archive: str | Path,
    destination: str | Path,
    *,
    suffixes: tuple[str, ...],
    inside: IO[bytes] | None = None,
    nested: bool = False,
) -> Path:
    """Unpack the members of `archive` whose names end in `suffixes` into the new folder `destination`.

    An existing `destination` is the result of an earlier, complete call and is returned as it is. All members are
    checked, also those that are not wanted.

    Args:
        archive: a `.zip`, `.tar.gz` or `.tar` file.
        destination: the folder to create.
        suffixes: endings of the wanted names, for example (".aedat", ".csv").
        inside: a tar file within `archive` that is unpacked in its place.
        nested: unpack the archives in `archive` too, each to a folder of its name.

    Returns:
        `destination`.

    Raises:
        UserError: not an archive, damaged, or with a member that is absolute, climbs out with '..', is a link or a
            device, occurs twice, is a file and a folder at once, or expands absurdly.
    """
    archive, destination = Path(archive), Path(destination)
    if destination.is_dir():
        return destination
    make_folder(destination.parent)
    if not archive.is_file():
        raise UserError(f"{archive}: there is no such archive; look whether its folder is still there")
    temporary = destination.with_name(f".{destination.name}.{uuid.uuid4().hex[:8]}")
    try:
        make_folder(temporary)
        limit = min(MAX_BYTES, max(_SMALL, MAX_RATIO * archive.stat().st_size))
        wanted = suffixes + ENDINGS * nested
        _unpack(archive, temporary, wanted, limit, inside)
        for _ in range(_NESTED * nested):
            for inner in sorted(path for path in temporary.rglob("*") if path.name.endswith(ENDINGS)):
                _unpack_inner(inner, wanted, limit, archive)
        temporary.replace(destination)
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"{archive}: cannot be unpacked to {destination} ({error}); fetch it again or make room"
        ) from error
    except Exception as error:  # what damaged archives raise has no common base
        raise UserError(f"{archive}: damaged or incomplete ({reason_of(error)}); fetch the archive again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return destination


def archives_in(folder: Path, pattern: str) -> list[Path]:
    """The archives in `folder` that are named as published, or else, renamed as they may be, all that there are."""
    found = without_litter(folder.glob(pattern), folder)
    return found or [path for path in without_litter(folder.glob("*"), folder) if path.name.endswith(ENDINGS)]


def _unpack_inner(inner: Path, suffixes: tuple[str, ...], limit: int, archive: Path) -> None:
    """Put the content of the file `inner`, which came from `archive`, into a folder in its place."""
    folder = inner.with_name(inner.name.partition(".")[0])
    try:
        _unpack(inner, folder, suffixes, limit, None)
    except UserError as error:
        raise UserError(str(error).replace(str(inner), f"{archive}: {inner.name}")) from error
    if inner.is_file():
        inner.unlink()


def _unpack(archive: Path, folder: Path, suffixes: tuple[str, ...], limit: int, inside: IO[bytes] | None) -> None:
    seen: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    total = 0
    for name, size, stream in tqdm(_members(archive, inside), desc=f"unpack {archive.name}", unit="file", disable=None):
        path = _safe_name(name, archive)
        if path in seen:
            raise UserError(f"{archive}: member {name!r} occurs twice; refused")
        seen.add(path)
        folders.update(path.parents)
        if path in folders or not seen.isdisjoint(path.parents):
            raise UserError(f"{archive}: member {name!r} is a file and a folder at once; refused")
        total += size
        if total > limit:
            raise UserError(f"{archive}: member {name!r} expands the content to over {limit} bytes; refused")
        hidden = any(map(is_litter, path.parts))
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
    elif is_tar(archive, inside):
        with open_tar(archive, inside) as bundle:
            for member in bundle:
                if member.isdir():
                    _safe_name(member.name, archive)
                elif not member.isfile():
                    raise UserError(f"{archive}: member {member.name!r} is a link or a device; refused")
                else:
                    yield member.name, member.size, bundle.extractfile(member)
    else:
        raise UserError(f"{archive}: neither a zip nor a tar archive; fetch it again")


class _Header(tarfile.TarInfo):
    """A header that is not read if that could take hours: `tarfile` searches a long one from each of its bytes."""

    def _proc_member(self, bundle: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE):
            bundle.work = getattr(bundle, "work", 0) + self.size**2
            if bundle.work > _HEADER_WORK:
                raise UserError(f"{bundle.name}: has extended headers of absurd length; refused")
        return super()._proc_member(bundle)


def open_tar(archive: Path, inside: IO[bytes] | None = None) -> tarfile.TarFile:
    """The tar file `archive`, compressed or not, or the one `inside` it."""
    return tarfile.open(archive, "r:*", inside, tarinfo=_Header)


def is_tar(path: Path, inside: IO[bytes] | None = None) -> bool:
    """Whether `path`, or the file `inside` it, begins as a tar file does, compressed or not."""
    try:
        with open_tar(path, inside):
            return True
    except (tarfile.TarError, EOFError, OSError, ValueError, LookupError, zlib.error, lzma.LZMAError):
        return False
    finally:
        if inside is not None:
            inside.seek(0)


def _safe_name(name: str, archive: Path) -> PurePosixPath:
    """`name` as a relative path, or a UserError if it could lead out of the folder it is unpacked into."""
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise UserError(f"{archive}: member {name!r} points outside the archive; refused")
    return path
