"""Tiny event data sets: simulated recordings, see `common.tiny.recordings`, in the containers of published ones.

A tiny run so walks the whole path of a real one.
"""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.events.aedat import encode_aedat2, encode_aedat3
from common.events.atis import encode_atis
from common.events.slicing import LABEL_HEADER
from common.events.text import write_text
from common.files import atomic_path
from common.tiny.recordings import recordings, write_once

TEST_SHARE = 10
"""One walk in so many is for testing."""


def write_tiny(name: str, folder: str | Path, *, classes: int = 10, per_class: int = 40, seed: int = 0) -> Path:
    """Write a tiny data set in the published form of the data set `name`; each recording shows another digit image.

    | name | files |
    |---|---|
    | dvs128 | `DvsGesture.tar.gz`: AEDAT 3.1 recordings, label files, trial lists; the last fifth of the users tests |
    | cifar10dvs | one zip of AEDAT 2.0 recordings per class |
    | ncaltech101 | `Caltech101.zip`: ATIS recordings |

    A folder that was written with the same arguments is left alone. The same arguments give the same bytes.

    Args:
        name: one of the names above.
        folder: where to write.
        classes: number of digits, 2 to 10.
        per_class: recordings per digit, 2 to 170.
        seed: chooses the images, their paths and the noise.

    Returns:
        `folder`, to be used as the source of `common.conversion.prepare.prepare`.

    Raises:
        UserError: arguments outside these ranges, or a folder that cannot be written.
    """
    if name not in _WRITERS or not 2 <= classes <= 10 or not 2 <= per_class <= 170:
        raise UserError(
            f"tiny data: expected a name of {', '.join(_WRITERS)}, 2 to 10 classes and 2 to 170 recordings per class; "
            f"got {name!r}, {classes}, {per_class}"
        )
    settings = {"name": name, "classes": classes, "per_class": per_class, "seed": seed}
    return write_once(folder, settings, partial(_WRITERS[name], classes=classes, per_class=per_class))


def write_tiny_gait(folder: str | Path, *, classes: int = 10, per_class: int = 60, seed: int = 0) -> Path:
    """Text files `{train,test}/<label>/<number>.txt`, the last tenth of each class for testing."""
    settings = {"name": "dvs_gait", "classes": classes, "per_class": per_class, "seed": seed}
    return write_once(folder, settings, partial(_write_gait, classes=classes, per_class=per_class))


def _write_dvs128(folder: Path, classes: int, per_class: int, rng: np.random.Generator) -> None:
    """One recording per user; in it one labelled segment per class."""
    users: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(per_class)]
    for digit, number, events in recordings(classes, per_class, (128, 128), rng):
        users[number].append((digit, events))
    names = [f"user{number + 1:02d}_screen" for number in range(per_class)]
    first_test = per_class - max(1, per_class // 5)
    members = {}
    for part, listed in (("train", names[:first_test]), ("test", names[first_test:])):
        members[f"trials_to_{part}.txt"] = "".join(f"{name}.aedat\n" for name in listed).encode()
    for name, segments in zip(names, users, strict=True):
        recording, labels = _join(segments)
        members[f"{name}.aedat"] = encode_aedat3(recording)
        members[f"{name}_labels.csv"] = labels.encode()
    _write_tar(folder / "DvsGesture.tar.gz", {f"DvsGesture/{name}": content for name, content in members.items()})


def _join(segments: list[tuple[int, np.ndarray]]) -> tuple[np.ndarray, str]:
    """One recording with the segments half a second apart, and its label file."""
    lines, parts, start = [",".join(LABEL_HEADER)], [], 0
    for digit, events in segments:
        start += 500_000
        part = events.copy()
        part["t"] += start
        end = int(part["t"][-1]) + 1
        lines.append(f"{digit + 1},{start},{end}")
        parts.append(part)
        start = end
    return np.concatenate(parts), "\n".join(lines) + "\n"


def _write_cifar10dvs(folder: Path, classes: int, per_class: int, rng: np.random.Generator) -> None:
    """Recordings start near 3.15e9 us, as the clock of the camera stood in published ones."""
    members: list[dict[str, bytes]] = [{} for _ in range(classes)]
    for digit, number, events in recordings(classes, per_class, (128, 128), rng):
        events["t"] += 3_150_000_000
        content = encode_aedat2(events, orientation="cifar10dvs")
        members[digit][f"{digit}/cifar10_{digit}_{number}.aedat"] = content
    for digit, files in enumerate(members):
        _write_zip(folder / f"{digit}.zip", files)


def _write_ncaltech101(folder: Path, classes: int, per_class: int, rng: np.random.Generator) -> None:
    members = {
        f"Caltech101/{digit}/image_{number + 1:04d}.bin": encode_atis(events)
        for digit, number, events in recordings(classes, per_class, (180, 240), rng)
    }
    _write_zip(folder / "Caltech101.zip", members)


def _write_gait(folder: Path, classes: int, per_class: int, rng: np.random.Generator) -> None:
    first_test = per_class - max(1, per_class // TEST_SHARE)
    for digit, number, events in recordings(classes, per_class, (128, 128), rng):
        part = "train" if number < first_test else "test"
        write_text(folder / part / str(digit) / f"{number:03d}.txt", events)


def _write_zip(path: Path, members: dict[str, bytes]) -> None:
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle,
    ):
        for name, content in members.items():
            # A ZipInfo without a date keeps the bytes of the archive the same from run to run.
            bundle.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 1)


def _write_tar(path: Path, members: dict[str, bytes]) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as stream,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=stream, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as bundle,
    ):
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            bundle.addfile(member, io.BytesIO(content))


_WRITERS: dict[str, Callable[..., None]] = {
    "dvs128": _write_dvs128,
    "cifar10dvs": _write_cifar10dvs,
    "ncaltech101": _write_ncaltech101,
}
