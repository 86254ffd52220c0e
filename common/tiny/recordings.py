"""Handwritten digits seen by a simulated event camera.

A digit moves along a closed path in front of the camera, as the CIFAR10-DVS screen did. Each pixel keeps a reference
of log intensity and emits an event each time the intensity has moved one threshold away from it (Lichtsteiner et al.
2008, https://doi.org/10.1109/JSSC.2007.914337); time stamps are interpolated between the simulated moments.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from common.events.event import pack
from common.files import atomic_path

THRESHOLD = 0.45
STEP_US = 10_000
NOISE_EVENTS = 100
_CORNERS = np.array([[0, 0], [1, 0.5], [0, 1], [-1, 0.5], [0, 0]])
_STEPS_PER_SACCADE = 8
_MARKER = "tiny.json"


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
    from scipy.ndimage import zoom

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


def digits(classes: int, per_class: int, rng: np.random.Generator) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (digit, number, image `[8, 8]` with intensities 0 to 16), number by number, no image twice."""
    from sklearn.datasets import load_digits  # takes a second, which only those pay who write

    images, labels = load_digits(return_X_y=True)
    chosen = [rng.permutation(np.flatnonzero(labels == digit))[:per_class] for digit in range(classes)]
    for number in range(per_class):
        for digit in range(classes):
            yield digit, number, images[chosen[digit][number]].reshape(8, 8)


def recordings(
    classes: int, per_class: int, size: tuple[int, int], rng: np.random.Generator
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (digit, number, events) of a camera of `size` (H, W), number by number, each from another image."""
    for digit, number, image in digits(classes, per_class, rng):
        yield digit, number, record_digit(image, *size, rng)
