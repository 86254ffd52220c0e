"""Pictures from files of any origin, with the brightness that they were stored with."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UserError, reason_of

_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def read_picture(path: str | Path, mode: str, content: bytes | None = None) -> Image.Image:
    """The picture in a file, or of `content` that is known by its name, in Pillow's `mode`, "RGB" or "L".

    Grey values of 16 bits are scaled to 8, v >> 8; Pillow itself would clip them to white.

    Raises:
        UserError: the file is damaged or no picture, beyond Pillow's limits, or its values have no known range, as in
            pictures of floats and of 32 bits.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as picture:
            picture.load()
            return _eight_bits(path, picture).convert(mode)
    except UserError:
        raise
    except Exception as error:  # what the decoders of all formats raise has no common base
        raise UserError(
            f"{path}: cannot be read as an image ({reason_of(error)}); fetch it again or delete it"
        ) from error


def _eight_bits(path: str | Path, picture: Image.Image) -> Image.Image:
    """`picture` with values from 0 to 255."""
    if picture.mode in _DEEP:
        values = np.asarray(picture).astype(np.int64)
        if values.min() >= 0 and values.max() < 1 << 16:
            return Image.fromarray((values >> 8).astype(np.uint8))
    elif picture.mode != "F":
        return picture
    low, high = picture.getextrema()
    raise UserError(
        f"{path}: has values from {low:g} to {high:g} (mode {picture.mode}), which have no known range of brightness; "
        "store it with 8 or 16 bits"
    )
