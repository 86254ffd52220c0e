"""What the scripts that train classifiers on images share, for the base and the large family."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.optim import Lamb
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from common.analysis import figures
from common.errors import UserError
from common.training import (
    Process,
    as_is,
    evaluate_classification,
    fit,
    make_loader,
    seed_everything,
    start,
)
from common.training.record import verdict
from sdt_v3.data.imagenet import RepeatedAugmentation, train_and_val
from sdt_v3.distill import ask, build_teacher, distilling, label_loss
from sdt_v3.models import large
from sdt_v3.models.aliases import names_of
from sdt_v3.network import build_network
from sdt_v3.options import (
    Flags,
    announce,
    classifier_options,
    image_options,
    mixed_precision,
    peak_rate,
    training_options,
    weights_to_evaluate,
)
from sdt_v3.results import Results
from sdt_v3.training import parameter_groups, warmup_cosine

TINY = {
    "nb_classes": 10,
    "input_size": 64,
    "augment": False,
    "batch_size": 16,
    "num_workers": 0,
    "lr": 1e-2,
    "warmup_epochs": 1,
}
"""A preset for a laptop: small images of ten digits, as they are. None of it is the paper's setting."""


@dataclass(frozen=True)
class Recipe:
    """One family's script: its networks, the settings its authors published, and its preset for `--tiny`."""

    family: ModuleType
    model: str
    tiny: dict[str, object]

    @property
    def is_large(self) -> bool:
        """True for the family that has time steps, stochastic depth, an average and a distillation head."""
        return self.family is large


def parse(recipe: Recipe, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The release's flags with its defaults and the common ones beside them.

    Raises:
        UserError: a combination that cannot run.
    """
    flags = Flags(f"Train or evaluate an SDT V3 network of the {recipe.family.__name__.split('.')[-1]} family.")
    training_options(flags, names_of(recipe.family), recipe.model, batch_size=64, blr=6e-4)
    classifier_options(flags, time_steps=1, nb_classes=1000, clip_grad=None)
    image_options(flags)
    if recipe.is_large:
        flags.option("--drop_path", type=float, default=0.1, help="stochastic depth of the last block")
        flags.option("--MODEL_EMA", type=int, default=1, help="1: keep, evaluate and save an average of the weights")
        flags.option("--MODEL_EMA_DECAY", type=float, default=0.99996)
    else:
        flags.without_effect(["--drop_path"])
    args = flags.parse(recipe.tiny, arguments)
    weights_to_evaluate(args)
    if args.kd and args.distillation_type == "none":
        args.distillation_type = "hard"
    if mixing(args) and args.batch_size % 2:
        raise UserError(f"--batch_size {args.batch_size}: mixup and cutmix pair the images; give an even number")
    return args


def mixing(args: argparse.Namespace) -> bool:
    """Whether images are mixed."""
    return args.mixup > 0 or args.cutmix > 0 or args.cutmix_minmax is not None


def build_model(recipe: Recipe, args: argparse.Namespace, process: Process) -> nn.Module:
    """The network that the flags describe; see `build_network`."""
    settings = {"T": args.time_steps, "drop_path": args.drop_path, "kd": args.kd} if recipe.is_large else {}
    return build_network(args, process, large=recipe.is_large, **settings)


def main(recipe: Recipe) -> None:
    """Run one script: train and evaluate, or only evaluate given weights."""
    args = parse(recipe)
    process = start(args.device, args.local_rank)
    seed_everything(args.seed, process.rank)
    train_set, test_set = train_and_val(args, process)
    model = build_model(recipe, args, process)
    loader = partial(
        make_loader,
        batch_size=args.batch_size,
        process=process,
        seed=args.seed,
        workers=args.num_workers,
        pin_memory=args.pin_mem and process.device.type == "cuda",
    )
    test_loader = loader(test_set, train=False)
    evaluate = partial(evaluate_images, loader=test_loader, args=args, process=process)
    if args.eval:
        result = evaluate(model)
        if process.is_main:
            print(f"{args.finetune}: test accuracy {result['acc1']:.2f} % of {result['samples']} images")
        return
    if process.is_main:
        announce(args, recipe.tiny, f"{len(train_set)} training and {len(test_set)} test images")
    sampler = RepeatedAugmentation(train_set, process, args.seed) if args.repeated_aug else None
    train_loader = loader(train_set, train=True, drop_last=True, sampler=sampler)
    teacher = build_teacher(args, process, train_loader, test_loader) if args.kd else None
    history = train(recipe, args, process, model, train_loader, evaluate, teacher)
    if process.is_main:
        report(args, history)


def evaluate_images(
    model: nn.Module, loader: DataLoader, args: argparse.Namespace, process: Process
) -> dict[str, float]:
    """Cross entropy and accuracies in the precision of training."""
    with torch.autocast(process.device.type, enabled=mixed_precision(args, process)):
        return evaluate_classification(model, loader, F.cross_entropy, process)


def train(
    recipe: Recipe,
    args: argparse.Namespace,
    process: Process,
    model: nn.Module,
    train_loader: DataLoader,
    evaluate: Callable[[nn.Module], dict[str, float]],
    teacher: nn.Module | None,
) -> list[dict]:
    """Train with LAMB and the per-step schedule; return one row of metrics per epoch."""
    lr, amp = peak_rate(args, process), mixed_precision(args, process)
    optimizer = Lamb(parameter_groups(model, args.weight_decay, args.layer_decay), lr=lr, trust_clip=True)
    schedule = {"lr": lr, "min_lr": args.min_lr, "warmup_epochs": args.warmup_epochs, "epochs": args.epochs}
    ema = None
    if recipe.is_large and args.MODEL_EMA:
        ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.MODEL_EMA_DECAY), use_buffers=True)
    scaler = torch.amp.GradScaler(enabled=amp and process.device.type == "cuda")
    loss_fn = label_loss(args, mixing(args))
    if teacher is not None:
        loss_fn = distilling(loss_fn, args.distillation_type, args.distillation_alpha, args.distillation_tau)
    return fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=loss_fn,
        epochs=args.epochs,
        evaluate=evaluate,
        process=process,
        output_dir=args.output_dir,
        scheduler=warmup_cosine(optimizer, len(train_loader), accumulate=args.accum_iter, **schedule),
        schedule="step",
        amp=amp,
        scaler=scaler,
        accumulate=args.accum_iter,
        clip_grad=args.clip_grad,
        ema=ema,
        transform_batch=batch_transform(args, process, teacher),
        reduce_output=first if args.kd and recipe.is_large else as_is,
        on_epoch_end=Results(args, optimizer, scaler, ema).numbered(every=50),
        resume=args.resume,
        metadata={"model": args.model, "T": args.time_steps, "num_classes": args.nb_classes, "args": vars(args)},
        tensorboard_dir=args.log_dir,
    )


def first(output: tuple[Tensor, Tensor]) -> Tensor:
    """The logits that learn from the labels, of the two that a distilled network returns in training."""
    return output[0]


def batch_transform(
    args: argparse.Namespace, process: Process, teacher: nn.Module | None
) -> Callable[[Tensor, Tensor, int], tuple[Tensor, object]] | None:
    """Mixup, then the teacher's opinion of what came out: (images, target) or (images, (target, logits))."""
    mix = None
    if mixing(args):
        mix = Mixup(
            args.mixup,
            args.cutmix,
            args.cutmix_minmax,
            args.mixup_prob,
            args.mixup_switch_prob,
            args.mixup_mode,
            label_smoothing=args.smoothing,
            num_classes=args.nb_classes,
        )
    if mix is None and teacher is None:
        return None
    opinion = ask(teacher, args, process) if teacher is not None else None

    def transform(images: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, object]:
        target = labels
        if mix is not None:
            images, target = mix(images, labels)
        return images, target if opinion is None else (target, opinion(images))

    return transform


def report(args: argparse.Namespace, history: list[dict]) -> None:
    """Draw the curves of a finished run and say where everything lies."""
    figures.training_curves(history, args.output_dir / "curves.png", args.model)
    print(
        f"{verdict(history, args.nb_classes)}\n"
        f"best weights   {args.output_dir / 'best.pt'}\n"
        f"last weights   {args.output_dir / f'checkpoint-{args.epochs - 1}.pth'}\n"
        f"checkpoint     {args.output_dir / 'checkpoint.pt'}  (continue with --resume)\n"
        f"metrics        {args.output_dir}/log.txt, log.csv, curves.png"
    )
