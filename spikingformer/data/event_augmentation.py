"""The augmentation of event frames: mirroring, then one of six operations, the same for all frames of a recording.

| operation  | magnitude, one of 31 from    |                                                          |
|------------|------------------------------|----------------------------------------------------------|
| identity   |                              |                                                          |
| shear      | -0.3 to 0.3 rad along x      |                                                          |
| translate  | -5 to 5 pixels along x or y  | two operations; the fraction is cut off                  |
| rotate     | -30 to 30 degrees            |                                                          |
| cutout     |                              | erases a square of 0.1 to 11 % of the area               |

The sign of a magnitude is turned with probability 1/2. Nearest pixel; what comes in from outside is 0.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

BINS = 31
_erase = v2.RandomErasing(p=1.0, scale=(0.001, 0.11), ratio=(1.0, 1.0))


def _affine(frames: Tensor, *, translate: tuple[int, int] = (0, 0), shear: float = 0.0) -> Tensor:
    return F.affine(frames, angle=0.0, translate=list(translate), scale=1.0, shear=[shear, 0.0])


OPERATIONS: tuple[tuple[Callable[[Tensor, float], Tensor], float], ...] = (
    (lambda frames, _: frames, 0.0),
    (lambda frames, magnitude: _affine(frames, shear=math.degrees(magnitude)), 0.3),
    (lambda frames, magnitude: _affine(frames, translate=(int(magnitude), 0)), 5.0),
    (lambda frames, magnitude: _affine(frames, translate=(0, int(magnitude))), 5.0),
    (lambda frames, magnitude: F.rotate(frames, magnitude), 30.0),
    (lambda frames, _: _erase(frames), 0.0),
)
"""(operation, largest magnitude)."""


def augment(frames: Tensor) -> Tensor:
    """Frames `[T, 2, H, W]` with one random change. Gestures are mirrored too, although that swaps left and right."""
    if torch.rand(()) < 0.5:
        frames = F.horizontal_flip(frames)
    operation, largest = OPERATIONS[int(torch.randint(len(OPERATIONS), ()))]
    magnitude = float(torch.linspace(-largest, largest, BINS)[torch.randint(BINS, ())])
    return operation(frames, -magnitude if torch.randint(2, ()) else magnitude)
