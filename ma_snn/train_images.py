"""The run of the four CIFAR scripts of Att-VGG-SNN: from images to result files."""

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from torch import nn
from torch.utils.data import DataLoader, Dataset

import ma_snn  # noqa: F401  (registers the models)
from common.analysis.evaluation import evaluate_fully
from common.datasets import cifar
from common.training import (
    Process,
    Scale,
    announce,
    begin,
    class_count,
    classes_to_test,
    conclude,
    describe,
    evaluate_classification,
    evaluation_folder,
    fit,
    grad_scaler,
    make_loader,
    mixed_precision,
    own_name,
    run_folder,
    start_from,
)
from ma_snn.Att_VGG.flags import MODELS, Recipe, parse, settings_name
from ma_snn.Att_VGG.recipe import Mixing, SteppedAverage, build_loss, build_optimizer, build_schedule, labels_of
from ma_snn.Att_VGG.results import Results, write_args
from ma_snn.data.images import parts
from ma_snn.evaluation import evaluate_with_rates

TEST_SIDE = 32


def build_model(args: argparse.Namespace, process: Process) -> nn.Module:
    """The network that the flags describe, with `--weights` loaded if given."""
    import timm  # slow, and --help needs none

    model = timm.create_model(
        MODELS[args.model],
        T=args.T,
        num_classes=args.num_classes,
        attention=args.attention,
        c_ratio=args.c_ratio,
        width=args.width,
    ).to(process.device)
    start_from(model, args.weights, process, testing=args.eval)
    return model


def main(recipe: Recipe) -> None:
    """Run one script: train and test, or only test given weights."""
    args = parse(recipe)
    process = begin(args)
    if args.print_logdir:
        print(*folders(args, process), sep="\n")
        return
    part = parts(args, process)
    test_set = part(False)
    args.own_name = own_name(args, args.data_path, test_set, cifar.CLASSES[args.dataset])
    args.num_classes = class_count(args.num_classes or classes_to_test(args), len(test_set.classes), test_set.root)
    model = build_model(args, process)
    describe(model, test_set)
    loader = partial(
        make_loader,
        batch_size=args.batch_size,
        process=process,
        seed=args.seed,
        workers=args.workers,
        pin_memory=False if args.disable_pinmemory else None,
    )
    test_loader = loader(test_set, train=False)
    if args.eval:
        test(args, process, model, test_loader, test_set)
        return
    train_set, name = part(True), args.own_name or args.dataset
    if process.is_main:
        announce(
            args,
            recipe.tiny,
            f"{args.model}, attention {args.attention}, on {name}: T={args.T}, {args.num_classes} classes, "
            f"{len(train_set)} training and {len(test_set)} test images, loss {args.loss}",
        )
        if args.augment and args.train_crop_size != TEST_SIDE:
            side = args.train_crop_size
            print(f"note: training crops of {side} x {side} pixels; the authors' commands give --train-crop-size 32")
    sampler = None
    if args.ra_sampler:
        from common.training.repeated_augmentation import RepeatedAugmentation  # timm's data package is slow to import

        sampler = RepeatedAugmentation(train_set, process, args.seed, args.ra_reps)
    train_loader = loader(train_set, train=True, drop_last=args.drop_last, sampler=sampler)
    evaluate = partial(evaluate_classification, loader=test_loader, loss_fn=build_loss(args), process=process)
    train(args, process, model, train_loader, evaluate)


def test(
    args: argparse.Namespace, process: Process, model: nn.Module, test_loader: DataLoader, test_set: Dataset
) -> None:
    """Print accuracies and the mean output of the neurons over the test set."""
    rates: dict[str, float] = {}

    def evaluate(model: nn.Module, **more: object) -> dict[str, float]:
        result, found = evaluate_with_rates(model, test_loader, build_loss(args), process, **more)
        rates.update(found)
        return result

    result = evaluate_fully(model, evaluate, test_set, process, evaluation_folder(args.output_dir, args.weights))
    if process.is_main:
        among_5 = f", among five {result['acc5']:.2f} %" if "acc5" in result else ""
        print(
            f"{args.weights}: test accuracy {result['acc1']:.2f} %{among_5} of {result['samples']} images; "
            f"mean neuron output {sum(rates.values()) / len(rates):.4f}"
        )
        print("\n".join(f"  {name:16}{rate:.4f}" for name, rate in rates.items()))


def folders(args: argparse.Namespace, process: Process) -> tuple[Path, Path]:
    """The folders of a run for TensorBoard and for checkpoints, `<output-dir>/RUN` and `<output-dir>/pt/RUN`.

    RUN is `--resume-path`, or the settings and the time of the start.

    Raises:
        UserError: there is no checkpoint to resume.
    """
    root = args.output_dir / "pt"
    if args.resume_path and not isinstance(args.resume, Path):
        folder = root / args.resume_path
    else:
        settings = settings_name(args)
        folder = run_folder(root, f"{settings}_%d_%H_%M", args.resume, process, among=f"{settings}_*")
    return args.output_dir / folder.name, folder


def train(
    args: argparse.Namespace,
    process: Process,
    model: nn.Module,
    train_loader: DataLoader,
    evaluate: Callable[[nn.Module], dict[str, float]],
) -> None:
    """Train as the flags say, write the authors' files, and say where everything lies."""
    board, folder = folders(args, process)
    optimizer, amp = build_optimizer(args, model), mixed_precision(args, process)
    schedule, scaler = build_schedule(args, optimizer), grad_scaler(amp, process, Scale.of(args))
    average = SteppedAverage(args, model, process, len(train_loader)) if args.model_ema else None
    if process.is_main and not args.resume:
        write_args(args, board / "args.txt")
    from torch.utils.tensorboard import SummaryWriter  # slow, and --help needs none

    with SummaryWriter(board) if process.is_main and average is not None else nullcontext() as tags:
        history = fit(
            model,
            train_loader,
            optimizer=optimizer,
            loss_fn=build_loss(args),
            epochs=args.epochs,
            evaluate=evaluate,
            process=process,
            output_dir=folder,
            scheduler=schedule,
            amp=amp,
            scaler=scaler,
            clip_grad=args.clip_grad_norm,
            ema=average,
            transform_batch=Mixing(args),
            truth=labels_of,
            top5=args.num_classes >= 5,
            sync_bn=args.sync_bn,
            on_epoch_end=Results(args, folder, optimizer, schedule, scaler, average, tags),
            resume=args.resume,
            checkpoint_every=args.checkpoint_every,
            scale=Scale.of(args),
            epochs_done=args.start_epoch,
            metadata={
                "data": args.dataset,
                "model": args.model,
                "attention": args.attention,
                "T": args.T,
                "num_classes": args.num_classes,
                "loss": args.loss,
            },
            select=None,
            tensorboard_dir=board,
        )
    if process.is_main:
        places = {
            "best weights": folder / "checkpoint_max_test_acc1.pth",
            "last weights": folder / "checkpoint_latest.pth",
            "settings": board / "args.txt",
        }
        title = f"{args.model} on {args.own_name or args.dataset}, T={args.T}"
        conclude(history, args.num_classes, folder, title, places)
