"""CIFAR10 and CIFAR100 as the scripts of Att-VGG-SNN read them.

| | transforms |
|---|---|
| training | a random crop of .08 to 1 of the area, mirrored every other time, policy, normalisation, erasing |
| evaluation | normalisation |

Both data sets are normalised with the statistics of CIFAR10, as published.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch.utils.data import Dataset

from common.datasets import cifar
from common.training import Process
from common.training.image_data import cifar_root

if TYPE_CHECKING:
    from torchvision.transforms import InterpolationMode, v2

STATISTICS_OF = "cifar10"
TINY_SET = {"per_class": 100, "test_per_class": 20}


def parts(args: argparse.Namespace, process: Process) -> Callable[[bool], Dataset]:
    """A function that opens the training part (True), augmented if the flags say so, or the test part (False)."""
    published, root = not args.tiny or bool(args.data_path), cifar_root(args, process, TINY_SET)

    def part(train: bool) -> Dataset:
        transform = train_transform(args) if train and args.augment else cifar.eval_transform(STATISTICS_OF)
        return cifar.cifar(args.dataset, root, train, transform, published=published)

    return part


def train_transform(args: argparse.Namespace) -> "v2.Compose":
    """PIL image to float32 `[3, S, S]`, S = `--train-crop-size`, augmented."""
    from torchvision.transforms import InterpolationMode, v2  # slow to import

    interpolation = InterpolationMode(args.interpolation)
    return v2.Compose(
        [
            v2.RandomResizedCrop(args.train_crop_size, interpolation=interpolation),
            v2.RandomHorizontalFlip(),
            *policy(args.auto_augment, interpolation),
            *cifar.eval_transform(STATISTICS_OF).transforms,
            v2.RandomErasing(args.random_erase),
        ]
    )


def policy(name: str, interpolation: "InterpolationMode") -> list["v2.Transform"]:
    """The augmentation policy `--auto-augment`: none, one of the three below, or AutoAugment's for a data set."""
    from torchvision.transforms import AutoAugmentPolicy, v2

    simple = {"ta_wide": v2.TrivialAugmentWide, "ra": v2.RandAugment, "augmix": v2.AugMix}
    if name == "none":
        return []
    if name in simple:
        return [simple[name](interpolation=interpolation)]
    return [v2.AutoAugment(AutoAugmentPolicy(name), interpolation=interpolation)]
