"""Clips of events that somebody has rendered as pictures, one picture per frame (HAR-DVS)."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from common.errors import UserError
from common.files import without_litter
from common.pictures import read_picture

SUFFIXES = (".png", ".jpg", ".jpeg")


def frame_paths(folder: Path) -> list[Path]:
    """The frames of a clip in order of time, which is that of the numbers in their names.

    Raises:
        UserError: there are none.
    """
    found = without_litter(folder.iterdir(), folder)
    paths = sorted((path for path in found if path.suffix.lower() in SUFFIXES), key=by_number)
    if not paths:
        raise UserError(f"{folder}: expected frames as {', '.join(SUFFIXES)} files, found none; unpack the clip again")
    return paths


def by_number(path: Path) -> list[tuple[str, int]]:
    """Sorting key by which frame_10 comes after frame_9."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", path.name)]


def load_image(path: Path) -> Image.Image:
    """The grey picture in a file; see `read_picture`."""
    return read_picture(path, "L")


def polarity_maps(image: Image.Image, size: int = 224, resize: int = 256) -> Tensor:
    """Binary maps `[2, size, size]` of a rendered frame with grey value v in 0..1: [v < 0.12] and [0.3 < v <= 0.78].

    The shorter side becomes `resize` (bicubic), then the centre is cut out.
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as transforms

    grey = transforms.resize(image.convert("L"), resize, InterpolationMode.BICUBIC)
    v = transforms.to_tensor(transforms.center_crop(grey, size))[0]
    return torch.stack([v < 0.12, (v > 0.3) & (v <= 0.78)]).float()


def clip_frames(
    images: Sequence[Image.Image],
    T: int,
    size: int = 224,
    resize: int = 256,
    *,
    flip: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Maps `[T, 2, size, size]` of up to T images in order of time; missing ones stay 0.

    `flip` is asked for each image whether to mirror it: the release flips frames of a clip independently.
    """
    frames = torch.zeros(T, 2, size, size)
    for frame, image in zip(frames, images[:T], strict=False):
        maps = polarity_maps(image, size, resize)
        frame.copy_(maps.flip(-1) if flip() else maps)
    return frames
