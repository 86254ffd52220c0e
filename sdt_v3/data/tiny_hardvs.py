"""A tiny HAR-DVS: handwritten digits before a simulated event camera, rendered as frames on a white ground."""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UserError
from common.events.frames import frames_by_time
from common.files import atomic_path
from common.tiny.recordings import recordings, write_once

SENSOR = (260, 346)
"""Rows and columns of a frame."""
FRAMES = 8
"""Frames of a clip."""
WHITE, OFF_COLOUR, ON_COLOUR = (255, 255, 255), (0, 0, 0), (0, 255, 0)
"""As grey values 1, 0 and 0.59, which SDT V3's reader takes for ground, first and second map."""


def write_tiny_hardvs(
    folder: str | Path, *, classes: int = 10, per_class: int = 30, test_per_class: int = 10, seed: int = 0
) -> Path:
    """Write the frame folders and the label lists of a tiny HAR-DVS, each clip of another digit image.

    The frames are `{train,test}/action_<label>/clip_<number>/frame_<index>.png`; `train_label.txt` and
    `test_label.txt` have a line `<folder of clips> <number of clips> <label>` per class. A folder that was written with
    the same arguments is left alone; the same arguments give the same images.

    Args:
        folder: where to write.
        classes: number of digits, 2 to 10.
        per_class: training clips per digit.
        test_per_class: test clips per digit; in both parts together at most 170.
        seed: chooses the images, their paths and the noise.

    Returns:
        `folder`.

    Raises:
        UserError: arguments outside these ranges, or a folder that cannot be written.
    """
    if not 2 <= classes <= 10 or min(per_class, test_per_class) < 1 or per_class + test_per_class > 170:
        raise UserError(
            "tiny HAR-DVS: expected 2 to 10 classes and 1 to 170 clips per class in both parts together; "
            f"got {classes}, {per_class} and {test_per_class}"
        )
    settings = {"name": "hardvs", "classes": classes, "train": per_class, "test": test_per_class, "seed": seed}
    return write_once(folder, settings, partial(_write, classes=classes, train=per_class, test=test_per_class))


def render(counts: np.ndarray) -> Image.Image:
    """Picture of one frame of event counts `[2, H, W]` (OFF, ON): the colour of the more frequent polarity."""
    off, on = counts
    pixels = np.full((*off.shape, 3), WHITE, np.uint8)
    pixels[(off > 0) & (off >= on)] = OFF_COLOUR
    pixels[on > off] = ON_COLOUR
    return Image.fromarray(pixels)


def _write(folder: Path, classes: int, train: int, test: int, rng: np.random.Generator) -> None:
    for digit, number, events in recordings(classes, train + test, SENSOR, rng):
        part = "train" if number < train else "test"
        clip = folder / part / f"action_{digit:03d}" / f"clip_{number:04d}"
        for index, counts in enumerate(frames_by_time(events, FRAMES, *SENSOR)):
            with atomic_path(clip / f"frame_{index:04d}.png") as temporary:
                render(counts).save(temporary, compress_level=1)
    for part, clips in (("train", train), ("test", test)):
        with atomic_path(folder / f"{part}_label.txt") as temporary:
            lines = (f"{part}/action_{digit:03d} {clips} {digit}\n" for digit in range(classes))
            temporary.write_text("".join(lines))
