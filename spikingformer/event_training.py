"""What the two scripts for event data share: flags, data, and the run from recordings to figures."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from common.analysis import figures
from common.conversion.prepare import prepare
from common.datasets.card import cards
from common.datasets.event_frames import EventFrames
from common.errors import UserError
from common.files import atomic_path
from common.training import Process, add_arguments, fit, main_first, make_loader, seed_everything, start
from common.training.record import verdict
from spikingformer.event_augmentation import augment
from spikingformer.options import Flags, announce, network_options, recipe_options, warn
from spikingformer.recipe import (
    BatchTransform,
    build_model,
    build_optimizer,
    build_schedule,
    continue_from,
    evaluate,
    is_exact,
    mixing,
    training_loss,
)
from spikingformer.results import EventResults, Row, StepLog

DATA = Path(__file__).resolve().parent.parent / "data"
WITHOUT_EFFECT = ("--world-size", "--dist-url", "--tb", "--no-tb", "--patience-epochs", "--epoch-repeats")
"""Flags of the authors' scripts whose work the launcher and the loop do."""
TINY = {
    "T": 4,
    "dim": 64,
    "depths": 1,
    "num_heads": 4,
    "downsample": 4,
    "augment": False,
    "mixup": 0.0,
    "workers": 0,
    "amp": False,
    "lr": 4e-3,
    "warmup_epochs": 0,
    "cooldown_epochs": 0,
    "epochs": 12,
}
"""A preset for a laptop: a narrow network of one block, few steps, 32 x 32 pixels. None of it is the papers'."""
TINY_SET = {"classes": 10, "per_class": 100}


@dataclass(frozen=True)
class Recipe:
    """One data set of the papers."""

    dataset: str
    folder: str
    num_classes: int
    epochs: int


CIFAR10_DVS = Recipe("cifar10dvs", "cifar10dvs", num_classes=10, epochs=96)
DVS128_GESTURE = Recipe("dvs128", "DVS128Gesture", num_classes=11, epochs=192)


def parse(recipe: Recipe, arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The authors' flags with their defaults, the common ones beside them; and those given without effect.

    Raises:
        UserError: a combination that cannot run.
    """
    flags = Flags(f"Train Spikingformer on {recipe.folder}.")
    option = flags.option
    option("--model", default="SEWResNet", help="names the folder of the run, nothing else; see --network")
    option("--dataset", choices=(recipe.dataset, recipe.folder.lower(), "dvs128_gesture"), default=recipe.dataset)
    option("--num-classes", type=int, default=recipe.num_classes)
    option("-b", "--batch-size", type=int, default=16, help="per process")
    option("-j", "--workers", type=int, default=4, help="loader processes, at most one per core")
    option("-T", "--T", dest="T", type=int, default=16, help="frames per recording")
    option("--T_train", type=int, help="frames of them that each training batch keeps, chosen at random")
    option("--connect_f", default="ADD", help="names the folder of the run, nothing else")
    option("--print-freq", dest="log_interval", type=int, default=256, help="batches between two lines")
    option("--augment", action=argparse.BooleanOptionalAction, default=True, help="the published augmentation")
    option("--downsample", type=int, default=1, help="shrinks the sensor this many times")
    option(
        "--split",
        choices=("first", "seeded"),
        default="first",
        help="CIFAR10-DVS: the first 90 %% of each class by name are for training, as published, or chosen by a seed",
    )
    network_options(flags)
    recipe_options(flags)
    flags.without_effect(*WITHOUT_EFFECT)
    add_arguments(flags, exclude={"--epochs"})
    flags.set_defaults(
        opt="adamw", opt_eps=1e-8, weight_decay=0.06, sched="cosine", lr=1e-3, warmup_lr=1e-5, warmup_epochs=10,
        decay_epochs=20, epochs=recipe.epochs, mixup=0.5, mixup_prob=0.5, mixup_off_epoch=75, amp=True, seed=2021,
        output_dir=Path("logs"),
    )  # fmt: skip
    args, ignored = flags.parse(TINY, None, arguments)
    args.img_size = args.img_size or 128 // args.downsample
    if args.eval and isinstance(args.resume, Path):
        args.weights = args.weights or args.resume
    if args.eval and not args.weights:
        raise UserError("--test-only needs the weights to test: add --weights FILE")
    if args.T_train is not None and not 1 <= args.T_train <= args.T:
        raise UserError(f"--T_train {args.T_train}: must be from 1 to T = {args.T}")
    return args, ignored


def datasets(recipe: Recipe, args: argparse.Namespace, process: Process) -> tuple[EventFrames, EventFrames]:
    """Training and test part; raw recordings (or the tiny set) are converted below the output folder first.

    Raises:
        UserError: unusable recordings, or more classes than `--num-classes`.
    """
    source, cache = args.data_path or DATA / recipe.folder, args.output_dir / "data"
    settings = {"T": args.T, "downsample": args.downsample}
    card = cards()[recipe.dataset]
    with main_first(process):
        if args.tiny and not args.data_path:
            source = card.write_tiny(cache / f"{recipe.dataset}_tiny_raw", **TINY_SET)
        root = prepare(card.loader, source, cache / f"{recipe.dataset}_{source.resolve().name}", **settings).root
    part = partial(card.loader, root, split=args.split, **settings)
    train_set, test_set = part(train=True, transform=augment if args.augment else None), part(train=False)
    if train_set.num_classes > args.num_classes:
        raise UserError(f"{root} has {train_set.num_classes} classes; give --num-classes {train_set.num_classes}")
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
            images, target = self.mix(frames.flatten(1, 2), labels, epoch)
            frames = images.unflatten(1, frames.shape[1:3])
        return frames, target


def main(recipe: Recipe) -> None:
    """Run a script: train and test, or only test given weights."""
    args, ignored = parse(recipe)
    process = start(args.device, args.local_rank)
    warn(ignored, process)
    seed_everything(args.seed, process.rank)
    train_set, test_set = datasets(recipe, args, process)
    model = build_model(args, "dvs_2_256", process)
    loader = partial(
        make_loader,
        batch_size=args.batch_size,
        process=process,
        seed=args.seed,
        workers=args.workers,
    )
    test_loader = loader(test_set, train=False)
    if args.eval:
        result = evaluate(model, test_loader, process, amp=False)
        if process.is_main:
            print(f"{args.weights}: test accuracy {result['acc1']:.2f} % of {result['samples']} recordings")
        return
    if process.is_main:
        height, width = train_set.sensor_size
        announce(args, TINY, f"{len(train_set)} training, {len(test_set)} test recordings of {height} x {width} pixels")
    train(recipe, args, process, model, loader(train_set, train=True, drop_last=True), test_loader)


def train(
    recipe: Recipe,
    args: argparse.Namespace,
    process: Process,
    model: torch.nn.Module,
    train_loader: DataLoader,
    test_loader: DataLoader,
) -> None:
    """Train as the flags say, write the authors' files, and say where everything lies."""
    optimizer, exact, epochs_done = build_optimizer(args, model), is_exact(args.resume), 0
    if args.resume and not exact:
        epochs_done = continue_from(args.resume, model, optimizer)
    epochs_done = args.start_epoch or epochs_done
    schedule, epochs = build_schedule(args, optimizer, epochs_done)
    run_dir, mix = run_folder(args), mixing(args)
    folder, board = run_dir / f"lr{args.lr}", run_dir.with_name(f"{run_dir.name}_logs") / f"lr{args.lr}"
    if process.is_main:
        with atomic_path(board / "args.txt") as temporary:
            temporary.write_text(f"{args}\n")
    history = fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=training_loss(args, mix is not None),
        epochs=epochs,
        evaluate=partial(evaluate, loader=test_loader, process=process, amp=False),
        process=process,
        output_dir=folder,
        scheduler=schedule,
        amp=args.amp,
        transform_batch=FrameBatches(mix, args.T_train),
        sync_bn=args.sync_bn,
        on_step=StepLog(optimizer, len(train_loader), args.log_interval),
        on_epoch_end=EventResults(args, folder, optimizer, schedule, epochs),
        resume=args.resume if exact else None,
        epochs_done=epochs_done,
        metadata={"model": args.network, "T": args.T, "num_classes": args.num_classes, "args": vars(args)},
        select=None,
        tensorboard_dir=board,
    )
    if process.is_main:
        report(args, folder, history, epochs, recipe.folder)


def run_folder(args: argparse.Namespace) -> Path:
    """The folder that the authors' settings give a run."""
    frames = f"T{args.T}" + (f"_Ttrain{args.T_train}" if args.T_train else "")
    name = f"{args.model}_b{args.batch_size}_{frames}_wd{args.weight_decay}_{args.opt}_cnf_{args.connect_f}"
    return args.output_dir / name


def report(args: argparse.Namespace, folder: Path, history: list[Row], epochs: int, title: str) -> None:
    """Draw the curves of a finished run and say where everything lies."""
    figures.training_curves(history, folder / "curves.png", f"{args.network} on {title}, T={args.T}")
    print(
        f"{verdict(history, args.num_classes)}\n"
        f"best weights  {folder / 'checkpoint_max_test_acc1.pth'}\n"
        f"last weights  {folder / f'checkpoint_{epochs - 1}.pth'}\n"
        f"checkpoint    {folder / 'checkpoint.pt'}  (continue with --resume)\n"
        f"metrics       {folder}/summary.csv, log.csv, curves.png"
    )
