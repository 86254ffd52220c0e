"""From what a script is given to the images that its networks are trained on."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from common.datasets import cifar
from common.tiny.images import write_tiny_images
from common.training.launch import Process, main_first
from common.training.program import data_folder


def cifar_root(args: argparse.Namespace, process: Process, tiny: Mapping[str, int]) -> Path:
    """Where `args.dataset`, CIFAR10 or CIFAR100, is; downloaded with `--download`, or painted in the size `tiny`."""
    published = cifar.datasets()[args.dataset].base_folder
    root = args.data_path or data_folder(published, "")
    root = root.parent if root.name == published else root
    with main_first(process):
        if args.tiny and not args.data_path:
            return write_tiny_images(args.dataset, args.output_dir / "data" / f"{args.dataset}_tiny", **tiny)
        if args.download:
            cifar.download(args.dataset, root)
    return root
