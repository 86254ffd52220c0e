"""Losses of segmentation and detection (SDT V3, the configurations of the release)."""

import torch.nn.functional as F
from torch import Tensor

IGNORED = 255
"""Label of pixels that no class is asked of."""


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of `logits` `[B, K, h, w]`, resized to the size of `labels` `[B, H, W]`; `decode.loss_ce`.

    Pixels labelled 255 add nothing to the sum but are counted in the mean, as in the release.
    """
    logits = resize(logits, labels.shape[1:])
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / labels.numel()


def pixel_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share in percent of the pixels with a label that get it; `decode.acc_seg`, shapes as in `segmentation_loss`."""
    right = resize(logits, labels.shape[1:]).argmax(1) == labels
    return 100 * right.sum() / (labels != IGNORED).sum().clamp(min=1)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """`maps` `[B, C, h, w]` at another (H, W), bilinearly."""
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


def detection_loss(losses: dict[str, Tensor]) -> Tensor:
    """The sum of all that a detector returns in training under names with `loss`."""
    return sum(loss for name, loss in losses.items() if "loss" in name)
