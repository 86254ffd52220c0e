"""What the scripts for images and for events share: network, optimizer, schedule, mixing, loss, and resuming."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

import spikingformer.models  # noqa: F401  registers the networks with timm
from common.errors import UserError
from common.training import (
    Process,
    fused,
    load_state,
    mixes,
    mixup_of,
    read_weights,
    start_from,
)
from common.training.checkpoint import FORMAT, read_file, state_of

if TYPE_CHECKING:
    from timm.scheduler.scheduler import Scheduler

BatchTransform = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def build_model(args: argparse.Namespace, variant: str, process: Process) -> nn.Module:
    """The network that the flags describe, what they leave out as in `variant`, with `--weights` loaded if given.

    Raises:
        UserError: settings that make no network, or weights that do not fit it.
    """
    import timm

    settings = {
        "embed_dim": args.dim,
        "depth": args.depths,
        "num_heads": args.num_heads,
        "mlp_ratio": args.mlp_ratio,
        "img_size": args.img_size,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if args.network == "spikingformer":
        settings["downsampling"] = args.downsampling
    try:
        model = timm.create_model(
            f"{args.network}_{variant}",
            T=args.T,
            num_classes=args.num_classes,
            drop_path_rate=args.stochastic_depth,
            **settings,
        )
    except ValueError as error:
        raise UserError(f"these settings make no network: {error}") from error
    start_from(model, args.weights, process, testing=args.eval)
    return model.to(process.device)


def build_optimizer(args: argparse.Namespace, model: nn.Module) -> Optimizer:
    """The optimizer `--opt` of timm: first the group without weight decay (biases and batch norm), then the other.

    Raises:
        UserError: it is unknown, or refuses its settings.
    """
    from timm.optim import create_optimizer_v2, optimizer_kwargs

    one_kernel = fused(model) if args.opt in ("sgd", "momentum", "adam", "adamw") else {}
    try:
        return create_optimizer_v2(model, **optimizer_kwargs(args), **one_kernel)
    except ValueError as error:
        raise UserError(f"--opt {args.opt}: {error}") from error


class EpochSchedule:
    """One of timm's schedules, stepped after each epoch without arguments, as `common.training.fit` does."""

    def __init__(self, schedule: "Scheduler", epoch: int = 0):
        self.schedule, self.epoch = schedule, epoch
        if epoch:
            schedule.step(epoch)

    def step(self) -> None:
        self.epoch += 1
        self.schedule.step(self.epoch)

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch = state["epoch"]
        self.schedule.step(self.epoch)  # the rate is a function of the epoch; a run made longer gets its own


def build_schedule(args: argparse.Namespace, optimizer: Optimizer, epochs_done: int = 0) -> tuple[EpochSchedule, int]:
    """The schedule `--sched` from epoch `epochs_done` on, and the number of epochs with cycles and cooldown.

    Cosine, with warm-up over W of E epochs: warmup_lr + e (lr - warmup_lr) / W for e < W, then
    min_lr + (lr - min_lr) (1 + cos(pi e / E)) / 2, which does not start anew at W, and min_lr from E on.
    """
    from timm.scheduler import create_scheduler_v2, scheduler_kwargs

    schedule, epochs = create_scheduler_v2(optimizer, **scheduler_kwargs(args))
    return EpochSchedule(schedule, epochs_done), epochs


def mixing(args: argparse.Namespace) -> BatchTransform | None:
    """Mixup and cutmix by timm, with smoothed targets; from `--mixup-off-epoch` on the smoothing alone. None: off.

    Raises:
        UserError: the batch cannot be divided into pairs.
    """
    if not mixes(args):
        return None
    mix = mixup_of(args, args.num_classes)

    def transform(images: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        mix.mixup_enabled = not args.mixup_off_epoch or epoch < args.mixup_off_epoch
        return mix(images, labels)

    return transform


def training_loss(args: argparse.Namespace, mixed: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """-sum_c t_c log softmax(z)_c, mean over the batch; mixed targets `[B, K]` are smoothed already, labels not."""
    return partial(F.cross_entropy, label_smoothing=0.0 if mixed else args.smoothing)


def is_exact(checkpoint: Path | bool | None) -> bool:
    """Whether `--resume` names a `checkpoint.pt` of ours, from which a run goes on as if it had never stopped."""
    if not isinstance(checkpoint, Path):
        return bool(checkpoint)
    content = read_file(checkpoint)
    return isinstance(content, dict) and content.get("format") == FORMAT


def continue_from(
    path: Path,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    scaler: torch.amp.GradScaler | None = None,
    average: AveragedModel | None = None,
) -> int:
    """Take over the weights, and the state of what else is given, from a checkpoint in the authors' format.

    An average of which the checkpoint holds nothing starts from its weights.

    Returns:
        the number of epochs that it has behind it.

    Raises:
        UserError: the file holds something else, or does not fit.
    """
    content = read_file(path)
    load_state(model, read_weights(path), path)
    if average is not None:
        averaged = content.get("state_dict_ema")
        load_state(average.module, model.state_dict() if averaged is None else state_of(averaged, path), path)
    if scaler is not None and scaler.is_enabled() and content.get("amp_scaler"):
        scaler.load_state_dict(content["amp_scaler"])
    if not isinstance(content.get("epoch"), int):
        return 0
    if optimizer is not None:
        try:
            optimizer.load_state_dict(content["optimizer"])
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(
                f"{path} has no state of this optimizer ({error}); add --no-resume-opt or give it by --weights"
            ) from error
    return content["epoch"] + 1
