"""HAR-DVS: rendered frames of events, read back as two polarity maps by their grey value."""

from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms


def polarity_maps(image: Image.Image, size: int = 224, resize: int = 256) -> Tensor:
    """Binary maps `[2, size, size]` of a rendered frame with grey value v in 0..1: [v < 0.12] and [0.3 < v <= 0.78].

    The shorter side becomes `resize` (bicubic), then the centre is cut out.
    """
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
