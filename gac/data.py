"""CIFAR10 and CIFAR100 as the scripts read them."""

import argparse
from collections.abc import Callable

from torch.utils.data import Dataset

from common.datasets import cifar
from common.training import Process
from common.training.image_data import cifar_root
from gac.encoders import ENCODERS

TINY_SET = {"per_class": 100, "test_per_class": 20}


def parts(args: argparse.Namespace, process: Process) -> Callable[[bool], Dataset]:
    """A function that opens the training part (True), augmented if the flags say so, or the test part (False)."""
    normalise = args.coding not in ENCODERS  # these take pixels from 0 to 1
    published, root = not args.tiny or bool(args.data_path), cifar_root(args, process, TINY_SET)

    def part(train: bool) -> Dataset:
        augment = train and args.augment
        transform = cifar.train_transform if augment else cifar.eval_transform
        return cifar.cifar(args.dataset, root, train, transform(args.dataset, normalise=normalise), published=published)

    return part
