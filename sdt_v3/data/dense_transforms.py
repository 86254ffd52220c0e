"""Augmentation of detection and segmentation as published (section 6 of the release's configurations).

Pictures are uint8 `[3, H, W]` up to the last step, which normalises. Sizes are resized bilinearly without antialiasing,
masks and labels to the nearest place; a new side is int(side * scale + 0.5). Random numbers come from torch alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdt_v3.losses import IGNORED

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of RGB values 0 to 255."""


def image_tensor(picture: Image.Image) -> Tensor:
    """A picture as uint8 `[3, H, W]`."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def normalised(image: Tensor) -> Tensor:
    """float32 `[3, H, W]` of mean 0 and deviation 1 over ImageNet."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (image.float() - mean) / std


def draw(low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    return int(torch.randint(low, high + 1, ()))


def coin() -> bool:
    """True half of the time."""
    return bool(torch.rand(()) < 0.5)


def fitted(size: Sequence[int], longest: float, shortest: float) -> tuple[int, int]:
    """(H, W) as large as `size` can become in its shape within these sides."""
    scale = min(longest / max(size), shortest / min(size))
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def resized(image: Tensor, size: Sequence[int], *, nearest: bool = False) -> Tensor:
    """`image` `[..., H, W]` at `size`."""
    from torchvision.transforms import InterpolationMode  # takes a second
    from torchvision.transforms.v2.functional import resize

    kind = InterpolationMode.NEAREST if nearest else InterpolationMode.BILINEAR
    return resize(image, list(size), kind, antialias=False)


def test_image(picture: Image.Image, scale: tuple[int, int]) -> Tensor:
    """A picture fitted to `scale` and normalised."""
    image = image_tensor(picture)
    return normalised(resized(image, fitted(image.shape[1:], *scale)))


@dataclass(frozen=True)
class DetectionTraining:
    """(picture, target) to (image, target).

    Fitted to 853 x 512 and mirrored half of the time. Then half of the time the shorter side becomes one of 480, 512,
    ... 800 (the longer one at most 1333); else it becomes 400, 500 or 600, a piece of 384 to 600 pixels a side is cut
    out, in which there may be nothing, and that is resized as in the first case. All of these lengths are for a `scale`
    of (1333, 800) and shrink with it. Without `augment` there is only the fit to `scale`.
    """

    scale: tuple[int, int]
    augment: bool = True

    def __call__(self, picture: Image.Image, target: Mapping[str, object]) -> tuple[Tensor, dict]:
        sample = image_tensor(picture), dict(target)
        if not self.augment:
            return finished(*scaled(*sample, *self.scale))
        by = self.scale[1] / 800
        sample = scaled(*sample, 853 * by, 512 * by)
        if coin():
            sample = mirrored(*sample)
        if coin():
            sample = scaled(*sample, math.inf, (400 + 100 * draw(0, 2)) * by)
            sample = cropped(*sample, int(384 * by), int(600 * by))
        return finished(*scaled(*sample, self.scale[0], (480 + 32 * draw(0, 10)) * by))


@dataclass(frozen=True)
class DetectionTest:
    """(picture, target) to (image, facts): fitted to `scale`, with `image_id` and `original`, the picture's (H, W)."""

    scale: tuple[int, int]

    def __call__(self, picture: Image.Image, target: Mapping[str, object]) -> tuple[Tensor, dict]:
        image = test_image(picture, self.scale)
        return image, {"image_id": target["image_id"], "original": picture.size[::-1]}


def scaled(image: Tensor, target: dict, longest: float, shortest: float) -> tuple[Tensor, dict]:
    """Fitted to these sides, boxes and masks with it."""
    before, after = image.shape[1:], fitted(image.shape[1:], longest, shortest)
    factors = torch.tensor([after[1] / before[1], after[0] / before[0]] * 2)
    changed = {"boxes": target["boxes"] * factors, "masks": resized(target["masks"], after, nearest=True)}
    return resized(image, after), target | changed


def mirrored(image: Tensor, target: dict) -> tuple[Tensor, dict]:
    """Left and right exchanged."""
    x1, y1, x2, y2 = target["boxes"].unbind(1)
    width = image.shape[2]
    boxes = torch.stack([width - x2, y1, width - x1, y2], 1)
    return image.flip(2), target | {"boxes": boxes, "masks": target["masks"].flip(2)}


def cropped(image: Tensor, target: dict, least: int, most: int) -> tuple[Tensor, dict]:
    """A piece of `least` to `most` pixels a side, as far as there are so many; objects outside are left out."""
    height, width = (draw(min(side, least), min(side, most)) for side in image.shape[1:])
    top, left = draw(0, image.shape[1] - height), draw(0, image.shape[2] - width)
    boxes = target["boxes"] - torch.tensor([left, top, left, top])
    boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    rows, columns = slice(top, top + height), slice(left, left + width)
    changed = {
        "boxes": boxes[kept],
        "labels": target["labels"][kept],
        "masks": target["masks"][kept][:, rows, columns],
    }
    return image[:, rows, columns], target | changed


def finished(image: Tensor, target: dict) -> tuple[Tensor, dict]:
    """Normalised."""
    return normalised(image), target


def padded_batch(images: Sequence[Tensor], divisor: int = 32) -> Tensor:
    """One `[B, 3, H, W]` of normalised images with zeros to the right and below, sides multiples of `divisor`."""
    height, width = (-(-max(x.shape[axis] for x in images) // divisor) * divisor for axis in (1, 2))
    batch = images[0].new_zeros(len(images), images[0].shape[0], height, width)
    for place, image in zip(batch, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]] = image
    return batch


def collate_training(samples: Sequence[tuple[Tensor, dict]]) -> tuple[tuple, Tensor]:
    """What a detector is called with, (images, targets, sizes), and the ids of the images."""
    images, targets = zip(*samples, strict=True)
    batch = padded_batch(images)
    size = batch.shape[2:]
    objects = []
    for target in targets:
        masks = target["masks"].new_zeros(len(target["masks"]), *size)
        masks[:, : target["masks"].shape[1], : target["masks"].shape[2]] = target["masks"]
        objects.append({"boxes": target["boxes"], "labels": target["labels"], "masks": masks})
    sizes = [tuple(image.shape[1:]) for image in images]
    return (batch, objects, sizes), torch.tensor([target["image_id"] for target in targets])


def collate_test(samples: Sequence[tuple]) -> tuple[list, list]:
    """Images of any sizes, and what belongs to each."""
    images, facts = zip(*samples, strict=True)
    return list(images), list(facts)


@dataclass(frozen=True)
class SegmentationTraining:
    """(picture, labels) to (image `[3, crop, crop]`, labels `[crop, crop]`).

    Fitted to 0.5 to 2 times `scale`, a piece of `crop` pixels a side cut out in which no class covers more than three
    quarters (of ten attempts), mirrored half of the time, photometrically distorted, padded with 0 and 255. Without
    `augment` the middle is cut out of what fits `scale`.
    """

    scale: tuple[int, int]
    crop: int
    augment: bool = True

    def __call__(self, picture: Image.Image, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        ratio = 0.5 + 1.5 * float(torch.rand(())) if self.augment else 1.0
        image, maps = image_tensor(picture), torch.from_numpy(labels)[None]
        size = fitted(image.shape[1:], self.scale[0] * ratio, self.scale[1] * ratio)
        image, maps = resized(image, size), resized(maps, size, nearest=True)
        window = varied_window(maps[0], self.crop) if self.augment else middle_window(size, self.crop)
        image, maps = image[:, *window], maps[:, *window]
        if self.augment:
            if coin():
                image, maps = image.flip(2), maps.flip(2)
            image = photometric_distortion(image)
        image = normalised(image)
        missing = [0, self.crop - image.shape[2], 0, self.crop - image.shape[1]]
        pad = torch.nn.functional.pad
        return pad(image, missing), pad(maps[0], missing, value=IGNORED).long()


@dataclass(frozen=True)
class SegmentationTest:
    """(picture, labels) to (image fitted to `scale`, labels of the picture's size)."""

    scale: tuple[int, int]

    def __call__(self, picture: Image.Image, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        return test_image(picture, self.scale), torch.from_numpy(labels).long()


def middle_window(size: Sequence[int], crop: int) -> tuple[slice, slice]:
    """Rows and columns of the middle `crop` pixels."""
    starts = [max(side - crop, 0) // 2 for side in size]
    return slice(starts[0], starts[0] + crop), slice(starts[1], starts[1] + crop)


def varied_window(labels: Tensor, crop: int, largest: float = 0.75, attempts: int = 10) -> tuple[slice, slice]:
    """Rows and columns of a random piece; the last attempt counts if in none a class covers less than `largest`."""
    for _ in range(attempts):
        top, left = (draw(0, max(side - crop, 0)) for side in labels.shape)
        window = slice(top, top + crop), slice(left, left + crop)
        counts = torch.bincount(labels[window].flatten().int(), minlength=IGNORED + 1)[:IGNORED]
        if (counts > 0).sum() > 1 and counts.max() / counts.sum() < largest:
            break
    return window


def photometric_distortion(image: Tensor) -> Tensor:
    """Brightness +-32, contrast (first or last) and saturation times 0.5 to 1.5, hue +-36 degrees, each with p 0.5."""

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(()))

    def contrast(x: Tensor) -> Tensor:
        return (x * between(0.5, 1.5)).clamp(0, 255) if coin() else x

    x, contrast_first = image.float(), coin()
    if coin():
        x = (x + between(-32, 32)).clamp(0, 255)
    if contrast_first:
        x = contrast(x)
    saturation, hue = coin(), coin()
    if saturation or hue:
        hsv = np.array(Image.fromarray(x.byte().permute(1, 2, 0).numpy()).convert("HSV")).astype(np.int16)
        if saturation:
            hsv[..., 1] = (hsv[..., 1] * between(0.5, 1.5)).clip(0, 255)
        if hue:
            hsv[..., 0] = (hsv[..., 0] + round(between(-18, 18) * 256 / 180)) % 256
        x = image_tensor(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB")).float()
    return (x if contrast_first else contrast(x)).byte()
