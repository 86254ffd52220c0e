"""CutMix, drawn as GAC's trainers draw it (AAAI 2024)."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def draw_box(height: int, width: int, beta: float) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a random box, clipped at the edges, from NumPy's global generator.

    Its sides are sqrt(1 - lambda) of the image's with lambda ~ Beta(beta, beta), its centre is uniform over the pixels.
    """
    scale = np.sqrt(1 - np.random.beta(beta, beta))
    half_height, half_width = int(height * scale) // 2, int(width * scale) // 2
    y, x = np.random.randint(height), np.random.randint(width)
    return max(y - half_height, 0), max(x - half_width, 0), min(y + half_height, height), min(x + half_width, width)


class CutMix:
    """Batch transform for `common.training.fit`: a box of each image comes from another image of the batch.

    image' = image outside of the box, image[perm] inside;  target = lambda 1[k = y] + (1 - lambda) 1[k = y[perm]],
    where 1 - lambda is the box's share of the area. A cross entropy is linear in its target, so its loss is
    lambda CE(z, y) + (1 - lambda) CE(z, y[perm]).   (Yun et al., ICCV 2019)

    Args:
        num_classes: K of the targets `[B, K]`.
        beta: of the distribution of lambda; 0 mixes nothing.
        probability: of mixing.
        scope: whether all batches of an epoch are mixed together or none, or each decides for itself. GAC's CIFAR
            trainer has probability 0.5 per epoch, its ImageNet trainer 1 per batch.
        seed: of the epoch's decision, which depends on nothing else, so that a resumed epoch goes on as it began.
    """

    def __init__(
        self,
        num_classes: int,
        beta: float = 1.0,
        probability: float = 0.5,
        scope: Literal["epoch", "batch"] = "epoch",
        seed: int = 0,
    ):
        if scope not in ("epoch", "batch"):
            raise ValueError(f"scope must be 'epoch' or 'batch', got {scope!r}")
        self.num_classes, self.beta, self.probability = num_classes, beta, probability
        self.scope, self.seed = scope, seed

    def coin(self, epoch: int) -> float:
        """The uniform draw that decides, from 0 to 1."""
        return np.random.rand() if self.scope == "batch" else np.random.RandomState(self.seed + epoch).rand()

    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Mixed images `[B, C, H, W]` and targets, `[B, K]` or, if nothing is mixed, the labels `[B]` themselves."""
        if self.coin(epoch) >= self.probability or self.beta <= 0:
            return images, labels
        height, width = images.shape[2:]
        top, left, bottom, right = draw_box(height, width, self.beta)
        order = torch.randperm(len(images), device=images.device)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
        share = (bottom - top) * (right - left) / (height * width)
        own = F.one_hot(labels, self.num_classes).to(images.dtype)
        return mixed, torch.lerp(own, own[order], share)
