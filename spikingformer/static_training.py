"""What the scripts for images share: flags, the run from data to figures, and the test of given weights."""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from common.analysis import figures
from common.errors import UserError
from common.layers import channels_last
from common.ms_resnet.files import run_folder
from common.training import Process, add_arguments, fit, make_loader, seed_everything, start
from common.training.record import verdict
from spikingformer.images import ImageBatches, both_parts, data_folder, dataset_name, open_part
from spikingformer.options import Flags, announce, network_options, recipe_options, warn
from spikingformer.recipe import (
    build_model,
    build_optimizer,
    build_schedule,
    continue_from,
    evaluate,
    is_exact,
    mixing,
    training_loss,
)
from spikingformer.results import METRICS, ImageResults, Row, StepLog, write_args

HERE = Path(__file__).resolve().parent
WITHOUT_EFFECT = (
    "-L", "--layer", "--patch-size", "--input-size", "--pretrained", "--gp", "--drop", "--drop-connect", "--drop-path",
    "--drop-block", "--bn-tf", "--bn-momentum", "--bn-eps", "--train-split", "--val-split", "--patience-epochs",
    "--epoch-repeats", "--aug-splits", "--jsd", "--split-bn", "--resplit", "--dist-bn", "--model-ema-force-cpu",
    "--recovery-interval", "--save-images", "--apex-amp", "--native-amp", "--no-prefetcher",
    "--tta", "--use-multi-epochs-loader", "--torchscript", "--log-wandb", "--pin-mem",
)  # fmt: skip
"""Flags of the authors' scripts that have none there either, or that no published run uses."""


@dataclass(frozen=True)
class Recipe:
    """One data set of the papers: its settings file, the network to fall back on, and its preset for `--tiny`."""

    config: Path
    variant: str
    dataset: str
    tiny: dict[str, object]


TINY = {
    "T": 2,
    "img_size": 32,
    "dim": 64,
    "depths": 1,
    "num_heads": 4,
    "no_aug": True,
    "reprob": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "batch_size": 32,
    "val_batch_size": 100,
    "workers": 0,
    "amp": False,
    "lr": 4e-3,
    "warmup_epochs": 0,
    "cooldown_epochs": 0,
    "epochs": 16,
}
"""A preset for a laptop: a narrow network of one block, few steps, no augmentation. None of it is the papers'."""

IMAGENET = Recipe(HERE / "imagenet/imagenet.yml", "8_768", "imagenet", TINY | {"num_classes": 10, "img_size": 64})
CIFAR10 = Recipe(HERE / "cifar10/cifar10.yml", "cifar_4_384", "torch/cifar10", TINY)
CIFAR100 = Recipe(HERE / "cifar100/cifar100.yml", "cifar_4_384", "torch/cifar100", TINY | {"num_classes": 10})


def build_flags(recipe: Recipe) -> Flags:
    """The authors' flags with their defaults, the common ones beside them."""
    flags = Flags(f"Spikingformer on {recipe.dataset.removeprefix('torch/')}.")
    option = flags.option
    option("--model", default="vitsnn", help="names the folder of the run, nothing else; see --network")
    option("-data-dir", "--data-dir", "--data-path", dest="data_dir", type=Path, help="folder of the data set")
    option("-d", "--dataset", default=recipe.dataset, help="imagenet, torch/cifar10 or torch/cifar100")
    option("-T", "--time-step", dest="T", type=int, default=4, help="time steps")
    option("--num-classes", type=int, default=1000)
    option("-b", "--batch-size", type=int, default=32, help="per process")
    option("-vb", "--val-batch-size", type=int, default=16, help="per process")
    option("-j", "--workers", type=int, default=4, help="loader processes, at most one per core")
    network_options(flags)
    recipe_options(flags)
    image_options(flags)
    option("--output", "--output-dir", dest="output", type=Path, default=Path("output/train"), help="holds the runs")
    option("--experiment", default="", help="name of the run's folder instead of <time>-<model>-<size>")
    option("--weights", "--initial-checkpoint", dest="weights", type=Path, help="file or name in the store")
    flags.without_effect(*WITHOUT_EFFECT)
    add_arguments(flags, exclude={"--data-path", "--output-dir", "--epochs", "--weights"})
    flags.set_defaults(seed=42)
    return flags


def image_options(flags: Flags) -> None:
    """Augmentation, evaluation, averaging and logging."""
    option = flags.option
    option("--no-aug", action="store_true", help="the central square of each image, not augmented")
    option("--scale", type=float, nargs=2, default=[0.08, 1.0], help="share of the area that a crop keeps")
    option("--ratio", type=float, nargs=2, default=[1.0, 1.0], help="width over height of a crop")
    option("--hflip", type=float, default=0.5, help="probability of mirroring")
    option("--vflip", type=float, default=0.0)
    option("--color-jitter", type=float, default=0.4, help="without --aa only")
    option("--aa", help="augmentation policy, by timm's name")
    option("--reprob", type=float, default=0.0, help="probability of random erasing")
    option("--remode", default="const", choices=("const", "rand", "pixel"))
    option("--recount", type=int, default=1)
    option("--train-interpolation", default="random")
    option("--interpolation", default="", help="in evaluation")
    option("--crop-pct", type=float, help="share of the resized side that evaluation keeps")
    option("--mean", type=float, nargs=3)
    option("--std", type=float, nargs=3)
    option("--clip-grad", type=float, help="largest norm of all gradients together")
    option("--clip-mode", choices=("norm",), default="norm")
    option("--channels-last", action="store_true", help="convolutions in NHWC: faster on many processors")
    option("--model-ema", action="store_true", help="keep, test and save an average of the weights")
    option("--model-ema-decay", type=float, default=0.9998)
    option("--eval-metric", choices=METRICS, default="top1", help="decides which checkpoints are kept")
    option("--checkpoint-hist", type=int, default=10, help="number of checkpoints to keep")
    option("--no-resume-opt", action="store_true", help="take only the weights from an authors' checkpoint")
    option("--log-interval", type=int, default=1000, help="batches between two lines")


def main(recipe: Recipe, *, testing: bool = False) -> None:
    """Run a script: train and test, or only test given weights."""
    args, ignored = build_flags(recipe).parse(recipe.tiny, recipe.config)
    args.eval = args.eval or testing
    if args.eval:
        args.weights = weights_to_test(args)
    process = start(args.device, args.local_rank)
    warn(ignored, process)
    seed_everything(args.seed, process.rank)
    model = build_model(args, recipe.variant, process)
    if args.channels_last:
        channels_last(model)
    root = data_folder(args, process)
    if args.eval:
        test(args, process, model, open_part(args, root, train=False))
        return
    train_set, test_set = both_parts(args, root)
    if process.is_main:
        announce(args, recipe.tiny, f"{len(train_set)} training and {len(test_set)} test images of {args.img_size} px")
    train(args, process, model, train_set, test_set)


def weights_to_test(args: argparse.Namespace) -> Path:
    """The file that `--weights` or, in the authors' way, `--resume` names.

    Raises:
        UserError: neither is given.
    """
    weights = args.weights or (args.resume if isinstance(args.resume, Path) else None)
    if weights is None:
        raise UserError("there are no weights to test: add --resume FILE or --weights FILE")
    return weights


def loader_of(args: argparse.Namespace, process: Process, images: Dataset, *, train: bool) -> DataLoader:
    """The share of the images for this process; training drops the last, smaller batch."""
    return make_loader(
        images,
        args.batch_size if train else args.val_batch_size,
        train=train,
        process=process,
        seed=args.seed,
        workers=args.workers,
        drop_last=train,
    )


def test(args: argparse.Namespace, process: Process, model: nn.Module, test_set: Dataset) -> None:
    """Print loss and accuracies of the weights."""
    result = evaluate(model, loader_of(args, process, test_set, train=False), process, args.amp)
    if process.is_main:
        metrics = {name: round(result[key], 4) for name, key in METRICS.items() if key in result}
        print(f"{args.weights}: {metrics} of {result['samples']} images")


def train(args: argparse.Namespace, process: Process, model: nn.Module, train_set: Dataset, test_set: Dataset) -> None:
    """Train as the settings say, write the authors' files, and say where everything lies."""
    optimizer, exact, epochs_done = build_optimizer(args, model), is_exact(args.resume), 0
    if args.resume and not exact:
        epochs_done = continue_from(args.resume, model, None if args.no_resume_opt else optimizer)
    epochs_done = epochs_done if args.start_epoch is None else args.start_epoch
    schedule, epochs = build_schedule(args, optimizer, epochs_done)
    average = None
    if args.model_ema:
        decay = get_ema_multi_avg_fn(args.model_ema_decay)
        average = AveragedModel(model, multi_avg_fn=decay, use_buffers=True)
    scaler = torch.amp.GradScaler(enabled=args.amp and process.device.type == "cuda")
    folder, mix = folder_of(args, process, exact), mixing(args)
    train_loader = loader_of(args, process, train_set, train=True)
    test_loader = loader_of(args, process, test_set, train=False)
    if process.is_main:
        write_args(args, folder / "args.yaml")
    history = fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=training_loss(args, mix is not None),
        epochs=epochs,
        evaluate=partial(evaluate, loader=test_loader, process=process, amp=args.amp),
        process=process,
        output_dir=folder,
        scheduler=schedule,
        amp=args.amp,
        scaler=scaler,
        clip_grad=args.clip_grad,
        ema=average,
        transform_batch=ImageBatches(args, mix, process),
        sync_bn=args.sync_bn,
        on_step=StepLog(optimizer, len(train_loader), args.log_interval),
        on_epoch_end=ImageResults(args, folder, optimizer, scaler, average),
        resume=args.resume if exact else None,
        epochs_done=epochs_done,
        metadata={"model": args.network, "T": args.T, "num_classes": args.num_classes, "args": vars(args)},
        select=None,
    )
    if process.is_main:
        report(args, folder, history)


def folder_of(args: argparse.Namespace, process: Process, exact: bool) -> Path:
    """The folder of this run in `--output`; a run that goes on keeps its own."""
    if args.experiment and not isinstance(args.resume, Path):
        return args.output / args.experiment
    name = args.experiment or f"%Y%m%d-%H%M%S-{args.model}-{args.img_size}"
    return run_folder(args.output, name, args.resume if exact else None, process)


def report(args: argparse.Namespace, folder: Path, history: list[Row]) -> None:
    """Draw the curves of a finished run and say where everything lies."""
    figures.training_curves(history, folder / "curves.png", f"{args.network} on {dataset_name(args)}, T={args.T}")
    best = max(history, key=lambda row: row["test_acc1"])
    print(
        f"*** Best metric: {best['test_acc1']} (epoch {best['epoch'] - 1})\n"
        f"{verdict(history, args.num_classes)}\n"
        f"best weights  {folder / 'model_best.pth.tar'}\n"
        f"checkpoint    {folder / 'checkpoint.pt'}  (continue with --resume)\n"
        f"settings      {folder / 'args.yaml'}\n"
        f"metrics       {folder}/summary.csv, log.csv, curves.png"
    )
