"""The event data sets of the VGG8 scripts."""

import argparse

from common.datasets.card import cards
from common.datasets.event_frames import EventFrames
from common.training import Process, data_folder
from common.training.event_data import frames_root
from sma.flags import Recipe

TINY_SET = {"classes": 10, "per_class": 100}


def datasets(recipe: Recipe, args: argparse.Namespace, process: Process) -> tuple[EventFrames, EventFrames]:
    """Training and test part; raw recordings (or the tiny set) are converted first."""
    card = cards()[recipe.dataset]
    settings = {"T": args.T, "split_by": args.split_by, "downsample": args.downsample}
    root = frames_root(card, args, process, data_folder(recipe.data_folder), TINY_SET, **settings)
    transform = recipe.augmentation() if args.augment and recipe.augmentation else None
    train_set = card.loader(root, True, transform=transform, **settings)
    return train_set, card.loader(root, False, **settings)
