"""CIFAR10 and CIFAR100 as the scripts read them."""

import argparse
from collections.abc import Callable
from pathlib import Path

from torch.utils.data import Dataset

from common.datasets import cifar
from common.tiny.images import write_tiny_images
from common.training import Process, data_folder, main_first
from gac.encoders import ENCODERS

TINY_SET = {"per_class": 100, "test_per_class": 20}


def data_root(args: argparse.Namespace, process: Process) -> Path:
    """Where the data set is; downloaded or, if tiny, painted first when that was asked for."""
    published = cifar.datasets()[args.dataset].base_folder
    root = args.data_path or data_folder(published, "")
    root = root.parent if root.name == published else root
    with main_first(process):
        if args.tiny and not args.data_path:
            return write_tiny_images(args.dataset, args.output_dir / "data" / f"{args.dataset}_tiny", **TINY_SET)
        if args.download:
            cifar.download(args.dataset, root)
    return root


def parts(args: argparse.Namespace, process: Process) -> Callable[[bool], Dataset]:
    """A function that opens the training part (True), augmented if the flags say so, or the test part (False)."""
    normalise = args.coding not in ENCODERS  # these take pixels from 0 to 1
    published, root = not args.tiny or bool(args.data_path), data_root(args, process)

    def part(train: bool) -> Dataset:
        augment = train and args.augment
        transform = cifar.train_transform if augment else cifar.eval_transform
        return cifar.cifar(args.dataset, root, train, transform(args.dataset, normalise=normalise), published=published)

    return part
