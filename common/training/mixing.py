"""Mixup and cutmix of whole batches, by timm."""

import argparse
from typing import TYPE_CHECKING

from torch import Tensor

from common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from timm.data import Mixup


def mixes(args: argparse.Namespace) -> bool:
    """Whether the flags of `common.training.flags.mixing_options` ask for mixed batches.

    Raises:
        UserError: they do, and the batch cannot be divided into pairs.
    """
    wanted = args.mixup > 0 or args.cutmix > 0 or args.cutmix_minmax is not None
    if wanted and args.batch_size % 2:
        raise UserError(f"--batch-size {args.batch_size}: mixup pairs the samples; give an even number or --mixup 0")
    return wanted


def mixup_of(args: argparse.Namespace, num_classes: int) -> "Mixup":
    """Images `[B, C, H, W]` and labels `[B]` to mixed images and smoothed targets `[B, num_classes]`."""
    from timm.data import Mixup

    return Mixup(
        args.mixup,
        args.cutmix,
        args.cutmix_minmax,
        args.mixup_prob,
        args.mixup_switch_prob,
        args.mixup_mode,
        label_smoothing=args.smoothing,
        num_classes=num_classes,
    )


def mix_frames(
    mix: "Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]", frames: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Mixed clips `[B, T, C, H, W]`, all frames of a clip alike: a box of cutmix lies in H and W, through all of T."""
    images, target = mix(frames.flatten(1, 2), labels)
    return images.unflatten(1, frames.shape[1:3]), target


def labels_of(target: Tensor) -> Tensor:
    """Labels `[B]`: the target itself, or the largest share of each mixed target `[B, K]`."""
    return target if target.ndim == 1 else target.argmax(1)
