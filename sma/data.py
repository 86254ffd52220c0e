"""The event data sets of the VGG8 scripts."""

import argparse

from common.datasets.event_frames import EventFrames
from common.datasets.prepare import DATASETS, prepare
from common.datasets.tiny import write_tiny
from common.training import Process, data_folder, main_first
from sma.flags import Recipe

TINY_SET = {"classes": 10, "per_class": 100}


def datasets(recipe: Recipe, args: argparse.Namespace, process: Process) -> tuple[EventFrames, EventFrames]:
    """Training and test part; raw recordings (or the tiny set) are converted below the output folder first."""
    source, cache = args.data_path or data_folder(recipe.data_folder), args.output_dir / "data"
    settings = {"T": args.T, "split_by": args.split_by, "downsample": args.downsample}
    with main_first(process):
        if args.tiny and not args.data_path:
            source = write_tiny(recipe.dataset, cache / f"{recipe.dataset}_tiny_raw", **TINY_SET)
        root = prepare(recipe.dataset, source, cache / f"{recipe.dataset}_{source.resolve().name}", **settings).root
    cls = DATASETS[recipe.dataset]
    return cls(root, True, transform=recipe.augment if args.augment else None, **settings), cls(root, False, **settings)
