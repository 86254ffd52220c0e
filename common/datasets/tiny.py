"""Tiny event data sets: scikit-learn's handwritten digits seen by a simulated event camera.

A digit moves along a closed path in front of the camera, as the CIFAR10-DVS screen did. Each pixel keeps a reference
of log intensity and emits an event each time the intensity has moved one threshold away from it (Lichtsteiner et al.
2008, https://doi.org/10.1109/JSSC.2007.914337); time stamps are interpolated between the simulated moments. The
recordings are written in the container their data set was published in, so that a tiny run walks the whole path of a
real one.
"""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from common.errors import UserError
from common.events.aedat import encode_aedat2, encode_aedat3
from common.events.atis import encode_atis
from common.events.event import pack
from common.events.slicing import LABEL_HEADER
from common.files import atomic_path

THRESHOLD = 0.45
STEP_US = 10_000
NOISE_EVENTS = 100
_CORNERS = np.array([[0, 0], [1, 0.5], [0, 1], [-1, 0.5], [0, 0]])
_STEPS_PER_SACCADE = 8
_MARKER = "tiny.json"


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
        `folder`, to be used as the source of `common.datasets.prepare.prepare`.

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


def write_once(
    folder: str | Path, settings: dict[str, object], write: Callable[[Path, np.random.Generator], None]
) -> Path:
    """Let `write(folder, generator)` fill `folder`, unless that was done with the same settings; return `folder`.

    The generator is seeded with `settings["seed"]`.
    """
    folder, marker = Path(folder), Path(folder) / _MARKER
    facts = json.dumps(settings)
    if not (marker.exists() and marker.read_text() == facts):
        marker.unlink(missing_ok=True)
        write(folder, rng=np.random.default_rng(settings["seed"]))
        with atomic_path(marker) as temporary:
            temporary.write_text(facts)
    return folder


def record_digit(image: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Events of an event camera of height x width pixels in front of which a digit moves along a rhombus.

    Args:
        image: a digit [8, 8] with intensities 0 to 16.
        height: rows of the sensor.
        width: columns of the sensor.
        rng: draws the size of the path, the place of the digit and the noise.

    Returns:
        events [N] of dtype `EVENT`, sorted by time from 0.
    """
    side = min(height, width) // 2
    digit = np.clip(zoom(image / 16.0, side / 8, order=1), 0, 1)
    reach = rng.uniform(0.05, 0.08) * side
    path = np.array([height - side, width - side]) / 2 + rng.uniform(-4, 4, 2) + reach * _positions()
    parts, reference, before = [], None, None
    for step, position in enumerate(path):
        light = np.log(0.2 + _place(digit, position, height, width))
        if reference is None:
            reference = light.copy()
        else:
            parts.append(_crossings(reference, before, light, step - 1))
        before = light
    duration = (len(path) - 1) * STEP_US
    columns = (rng.integers(0, limit, NOISE_EVENTS) for limit in (duration, width, height, 2))
    events = np.concatenate([*parts, pack(*columns)])
    return events[np.argsort(events["t"], kind="stable")]


def _positions() -> np.ndarray:
    """Points [steps, 2] along the closed path through the corners, equally spaced within each saccade."""
    corners = np.arange(len(_CORNERS)) * _STEPS_PER_SACCADE
    steps = np.arange(corners[-1] + 1)
    return np.stack([np.interp(steps, corners, axis) for axis in _CORNERS.T], axis=1)


def _place(digit: np.ndarray, position: np.ndarray, height: int, width: int) -> np.ndarray:
    """A dark image [height, width] with the digit at a fractional (row, column), interpolated linearly."""
    side = len(digit)
    row, column = np.floor(position).astype(int)
    down, right = position - np.floor(position)
    padded = np.pad(digit, 1)
    rows = down * padded[:-1] + (1 - down) * padded[1:]
    image = np.zeros((height, width))
    image[row : row + side + 1, column : column + side + 1] = right * rows[:, :-1] + (1 - right) * rows[:, 1:]
    return image


def _crossings(reference: np.ndarray, before: np.ndarray, now: np.ndarray, step: int) -> np.ndarray:
    """Events of one step; moves `reference` [H, W] by one threshold per event, in place."""
    counts = np.trunc((now - reference) / THRESHOLD).astype(int)
    y, x = np.nonzero(counts)
    count = counts[y, x]
    start, total = before[y, x], np.abs(count)
    pixel = np.repeat(np.arange(len(y)), total)
    nth = np.arange(len(pixel)) - np.repeat(np.cumsum(total) - total, total) + 1
    level = reference[y, x][pixel] + np.sign(count)[pixel] * nth * THRESHOLD
    change = (now[y, x] - start)[pixel]
    # Rounding of the reference can leave a crossing to a step in which the light stands still: it fires at its start.
    moment = np.clip(np.divide(level - start[pixel], change, out=np.zeros_like(level), where=change != 0), 0, 1)
    reference += counts * THRESHOLD
    return pack(((step + moment) * STEP_US).astype(np.int64), x[pixel], y[pixel], count[pixel] > 0)


def recordings(
    classes: int, per_class: int, size: tuple[int, int], rng: np.random.Generator
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (digit, number, events), number by number, each from another image."""
    images, labels = load_digits(return_X_y=True)
    chosen = [rng.permutation(np.flatnonzero(labels == digit))[:per_class] for digit in range(classes)]
    for number in range(per_class):
        for digit in range(classes):
            yield digit, number, record_digit(images[chosen[digit][number]].reshape(8, 8), *size, rng)


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
