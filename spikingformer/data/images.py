"""ImageNet and CIFAR as the authors read them: timm's augmentation, then mix, normalise and erase whole batches."""

import argparse
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.datasets.cifar import CLASSES, cifar
from common.datasets.imagenet import check_classes, imagenet
from common.datasets.timm_transforms import create_transform
from common.errors import UserError
from common.tiny.images import write_tiny_images
from common.training import Process, class_count, classes_to_test, data_folder, main_first
from spikingformer.recipe import BatchTransform

FOLDERS = {"imagenet": ("ImageNet2012",), "cifar10": ("",), "cifar100": ("",)}
"""Where `data_folder` looks for each data set."""
PUBLISHED = {"imagenet": 1000, **CLASSES}
"""Their numbers of classes."""
TINY_SET = {"per_class": 100, "test_per_class": 20}


def dataset_name(args: argparse.Namespace) -> str:
    """The key of `FOLDERS` that `--dataset`, such as torch/cifar10, stands for.

    Raises:
        UserError: it is none.
    """
    name = args.dataset.removeprefix("torch/").removesuffix("_tmp")
    if name not in FOLDERS:
        raise UserError(f"--dataset {args.dataset}: expected imagenet, torch/cifar10 or torch/cifar100")
    return name


def data_root(args: argparse.Namespace, process: Process) -> Path:
    """Where the images are; the tiny ones are painted first."""
    name = dataset_name(args)
    if args.data_dir or not args.tiny:
        return args.data_dir or data_folder(*FOLDERS[name])
    with main_first(process):
        return write_tiny_images(name, args.output / "data" / f"{name}_tiny", **TINY_SET)


def open_part(args: argparse.Namespace, root: Path, train: bool) -> Dataset:
    """The training images, uint8 and augmented, or the test images, normalised; completes `args.num_classes`.

    Raises:
        UserError: the data are not there, or have more classes than `--num-classes`.
    """
    name, transform = dataset_name(args), train_transform(args) if train else eval_transform(args)
    if name == "imagenet":
        images = imagenet(root, train, transform)
    else:
        images = cifar(name, root, train, transform, published=not args.tiny or bool(args.data_dir))
    args.num_classes = class_count(args.num_classes or classes_to_test(args), len(images.classes), root)
    return images


def both_parts(args: argparse.Namespace, root: Path) -> tuple[Dataset, Dataset]:
    """Training and test images of the same classes."""
    train_set, test_set = open_part(args, root, train=True), open_part(args, root, train=False)
    if dataset_name(args) == "imagenet":
        check_classes(train_set, test_set)
    return train_set, test_set


def statistics(args: argparse.Namespace) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the colours, from 0 to 1."""
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    return tuple(args.mean or IMAGENET_DEFAULT_MEAN), tuple(args.std or IMAGENET_DEFAULT_STD)


def train_transform(args: argparse.Namespace) -> object:
    """PIL image to uint8 `[3, S, S]`: crop, mirroring, RandAugment.

    With the published scale and ratio of 1 the crop is the central square of an image, without any randomness.
    """
    mean, std = statistics(args)
    return create_transform(
        args.img_size,
        is_training=True,
        no_aug=args.no_aug,
        scale=args.scale,
        ratio=args.ratio,
        hflip=args.hflip,
        vflip=args.vflip,
        color_jitter=args.color_jitter,
        auto_augment=args.aa,
        interpolation=args.train_interpolation,
        mean=mean,
        std=std,
        normalize=False,
    )


def eval_transform(args: argparse.Namespace) -> object:
    """PIL image to float32 `[3, S, S]`: the shorter side resized to S / crop_pct, the centre, normalisation."""
    mean, std = statistics(args)
    return create_transform(
        args.img_size, interpolation=args.interpolation or "bicubic", mean=mean, std=std, crop_pct=args.crop_pct
    )


class ImageBatches:
    """Batch transform for `fit`: mix whole batches of uint8 pixels, then normalise, then erase boxes."""

    def __init__(self, args: argparse.Namespace, mix: BatchTransform | None, process: Process):
        tensor = partial(torch.tensor, device=process.device)
        mean, std = statistics(args)
        self.mean, self.std = (255 * tensor(values).view(1, 3, 1, 1) for values in (mean, std))
        self.mix, self.erase = mix, None
        if args.reprob > 0 and not args.no_aug:
            from timm.data.random_erasing import RandomErasing

            self.erase = RandomErasing(args.reprob, mode=args.remode, max_count=args.recount, device=process.device)

    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Float32 `[B, 3, S, S]` and targets, `[B, K]` if mixed, of uint8 `[B, 3, S, S]` and labels `[B]`."""
        images, target = images.float(), labels
        if self.mix is not None:
            images, target = self.mix(images, labels, epoch)
            images = images.round()
        images = (images - self.mean) / self.std
        return self.erase(images) if self.erase is not None else images, target
