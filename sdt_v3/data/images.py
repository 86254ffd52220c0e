"""ImageNet as SDT V3 reads it (section 6 of its recipe): timm's transforms."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from common.datasets.imagenet import check_classes, imagenet
from common.datasets.timm_transforms import create_transform
from common.tiny.images import write_tiny_images
from common.training import Process, class_count, classes_to_test, data_folder, main_first

if TYPE_CHECKING:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

TINY_SET = {"per_class": 100, "test_per_class": 40}
CROP_SHARE = 224 / 232
"""Share of the resized side that evaluation keeps, up to 224 pixels; above, all of it."""


def train_transform(args: argparse.Namespace) -> "v2.Transform":
    """PIL image to float32 `[3, S, S]`: random crop, flip, augmentation policy, normalisation, random erasing."""
    return create_transform(
        args.input_size,
        is_training=True,
        color_jitter=args.color_jitter,
        auto_augment=None if args.aa == "none" else args.aa,
        interpolation="bicubic",
        re_prob=args.reprob,
        re_mode=args.remode,
        re_count=args.recount,
    )


def eval_transform(size: int) -> "v2.Transform":
    """PIL image to float32 `[3, size, size]`: its centre, after the shorter side became size / crop share."""
    return create_transform(size, interpolation="bicubic", crop_pct=CROP_SHARE if size <= 224 else 1.0)


def pretrain_transform(size: int) -> "v2.Transform":
    """PIL image to float32 `[3, size, size]`: a crop of 20 to 100 % of the area, mirrored half of the time."""
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.2, 1.0), interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        ]
    )


def image_root(args: argparse.Namespace, process: Process) -> Path:
    """Folder of `train` and `val`; for `--tiny` without `--data_path` the tiny set, written below the output folder."""
    if not args.tiny or args.data_path:
        return args.data_path or data_folder("ImageNet2012", "")
    with main_first(process):
        write_tiny_images("imagenet", args.output_dir / "data", **TINY_SET)
    return args.output_dir / "data"


def train_and_val(args: argparse.Namespace, process: Process) -> "tuple[ImageFolder, ImageFolder]":
    """Both parts of the data set that the flags describe; completes `args.nb_classes`.

    Raises:
        UserError: missing folders, classes that differ between them, or more classes than `--nb_classes`.
    """
    root, plain = image_root(args, process), eval_transform(args.input_size)
    train_set = imagenet(root, True, train_transform(args) if args.augment else plain)
    test_set = imagenet(root, False, plain)
    check_classes(train_set, test_set)
    wanted = args.nb_classes or classes_to_test(args)
    args.nb_classes = class_count(wanted, len(train_set.classes), root, "--nb_classes")
    return train_set, test_set
