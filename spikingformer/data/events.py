"""Event recordings as the authors read them: frames of a whole recording, some of them kept, then mixed."""

import argparse
from functools import partial

import torch
from torch import Tensor

from common.datasets.card import cards
from common.datasets.event_frames import EventFrames
from common.training import Process, class_count, classes_to_test, data_folder, mix_frames
from common.training.event_data import frames_root
from spikingformer.flags import EventRecipe
from spikingformer.recipe import BatchTransform

TINY_SET = {"classes": 10, "per_class": 100}


def datasets(recipe: EventRecipe, args: argparse.Namespace, process: Process) -> tuple[EventFrames, EventFrames]:
    """Training and test part; raw recordings (or the tiny set) are converted first.

    Completes `args.num_classes`.

    Raises:
        UserError: unusable recordings, or more classes than `--num-classes`.
    """
    from spikingformer.data.event_augmentation import augment

    card, settings = cards()[recipe.dataset], {"T": args.T, "downsample": args.downsample}
    root = frames_root(card, args, process, data_folder(recipe.folder), TINY_SET, **settings)
    part = partial(card.loader, root, split=args.split, **settings)
    train_set, test_set = part(train=True, transform=augment if args.augment else None), part(train=False)
    args.num_classes = class_count(args.num_classes or classes_to_test(args), train_set.num_classes, root)
    return train_set, test_set


class FrameBatches:
    """Batch transform for `fit`: keep some of the T frames, then mix."""

    def __init__(self, mix: BatchTransform | None, T_train: int | None):
        self.mix, self.T_train = mix, T_train

    def __call__(self, frames: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Frames `[B, T_train, 2, H, W]` and targets, `[B, K]` if mixed, of frames `[B, T, 2, H, W]`, labels `[B]`."""
        target = labels
        if self.T_train is not None:
            frames = frames[:, torch.randperm(frames.shape[1])[: self.T_train].sort().values]
        if self.mix is not None:
            frames, target = mix_frames(partial(self.mix, epoch=epoch), frames, labels)
        return frames, target
