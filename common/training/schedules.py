"""Learning rates as closed forms of the epoch, so that neither torch's version nor a resume can change them."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine(optimizer: Optimizer, period: int, offset: int = 0) -> LambdaLR:
    """Cosine from the optimizer's rate to 0: lr(e) = lr0 (1 + cos(pi (e + offset) / period)) / 2, epoch e = 0, 1, ...

    `offset=1` is the ImageNet trainers' schedule, which runs one epoch ahead and ends at 0 in the last epoch.
    """
    return LambdaLR(optimizer, lambda epoch: (1 + math.cos(math.pi * (epoch + offset) / period)) / 2)
