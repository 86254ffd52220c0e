"""Optimizer, schedule, losses, mixing and averaging of Att-VGG-SNN, those of torchvision's reference trainer."""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from common.training import Process, fused, labels_of, mse_one_hot, smooth_cross_entropy


def one_hot_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Squared error of logits `[B, K]` against the one-hot `labels_of` the target, over all K classes of the data."""
    return mse_one_hot(logits, labels_of(target), time_dim=None)


def build_loss(args: argparse.Namespace) -> Callable[[Tensor, Tensor], Tensor]:
    """What `--loss` names."""
    return one_hot_loss if args.loss == "mse" else partial(smooth_cross_entropy, smoothing=args.label_smoothing)


def build_optimizer(args: argparse.Namespace, model: nn.Module) -> Optimizer:
    """The optimizer `--opt`; with `--norm-weight-decay` the batch norms are a group of their own."""
    groups = [{"params": list(model.parameters())}]
    if args.norm_weight_decay is not None:
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        norm = {id(parameter): parameter for module in norms for parameter in module.parameters()}
        others = [parameter for parameter in model.parameters() if id(parameter) not in norm]
        groups = [{"params": others}, {"params": list(norm.values()), "weight_decay": args.norm_weight_decay}]
    settings = {"lr": args.lr, "weight_decay": args.weight_decay}
    if args.opt == "rmsprop":
        return torch.optim.RMSprop(groups, momentum=args.momentum, eps=0.0316, alpha=0.9, **settings)
    settings |= fused(model)
    if args.opt == "adamw":
        return torch.optim.AdamW(groups, **settings)
    return torch.optim.SGD(groups, momentum=args.momentum, nesterov=args.opt == "sgd_nesterov", **settings)


@dataclass(frozen=True)
class Schedule:
    """lr(e) / lr0 in epoch e = 0, 1, ...: W epochs of warm-up, then the schedule of the others.

    | warm-up, e < W |                           | schedule, n = e - W |                                    |
    |----------------|---------------------------|---------------------|------------------------------------|
    | linear         | decay + (1 - decay) e / W | cosa                | (1 + cos(pi n / (epochs - W))) / 2 |
    | constant       | decay                     | step, exp           | gamma^(n // step_size), gamma^n    |
    """

    kind: Literal["cosa", "step", "exp"]
    epochs: int
    warm_up: int = 0
    method: Literal["linear", "constant"] = "linear"
    decay: float = 0.01
    step_size: int = 30
    gamma: float = 0.1

    def __call__(self, epoch: int) -> float:
        n = epoch - self.warm_up
        if n < 0:
            return self.decay + (1 - self.decay) * (epoch / self.warm_up if self.method == "linear" else 0)
        if self.kind == "cosa":
            return (1 + math.cos(math.pi * n / max(self.epochs - self.warm_up, 1))) / 2
        return self.gamma ** (n // self.step_size if self.kind == "step" else n)


def build_schedule(args: argparse.Namespace, optimizer: Optimizer) -> LambdaLR:
    """The schedule that the flags describe, from epoch `--start-epoch` on."""
    warm_up = (args.lr_warmup_epochs, args.lr_warmup_method, args.lr_warmup_decay)
    share = Schedule(args.lr_scheduler, args.epochs, *warm_up, args.lr_step_size, args.lr_gamma)
    start = args.start_epoch
    return LambdaLR(optimizer, lambda epoch: share(epoch + start))


class Mixing:
    """Batch transform for `fit`: each batch gets mixup or cutmix with probability 1/2, with a roll of itself by one.

    An alpha of 0 leaves the other alone, two of them nothing: labels then stay `[B]`.
    """

    def __init__(self, args: argparse.Namespace):
        from torchvision.transforms import v2  # slow to import

        kinds = ((v2.MixUp, args.mixup_alpha), (v2.CutMix, args.cutmix_alpha))
        self.choices = [kind(alpha=alpha, num_classes=args.num_classes) for kind, alpha in kinds if alpha > 0]

    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Mixed images `[B, C, H, W]` and targets `[B, K]`."""
        if not self.choices:
            return images, labels
        return self.choices[int(torch.randint(len(self.choices), ()))](images, labels)


class SteppedAverage(AveragedModel):
    """Exponential average of the weights, taken every `--model-ema-steps` batches of an epoch.

    Its decay is 1 - min(1, (1 - decay) * processes * batch size * steps / epochs); in the epochs of the warm-up it is a
    copy.
    """

    def __init__(self, args: argparse.Namespace, model: nn.Module, process: Process, batches: int):
        """`batches`: those of an epoch."""
        samples = process.world_size * args.batch_size * args.model_ema_steps
        decay = 1 - min(1.0, (1 - args.model_ema_decay) * samples / args.epochs)
        super().__init__(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.every, self.batches, self.warm_up = args.model_ema_steps, batches, args.lr_warmup_epochs * batches
        self.register_buffer("step", torch.tensor(args.start_epoch * batches))

    def update_parameters(self, model: nn.Module) -> None:
        """Take the weights of `model` in, if it is time to."""
        step = int(self.step)
        if step % self.batches % self.every == 0:
            super().update_parameters(model)
            if step < self.warm_up:
                self.n_averaged.fill_(0)
        self.step += 1
