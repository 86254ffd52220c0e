"""The run of the scripts for images, and the test of given weights."""

import argparse
from functools import partial
from pathlib import Path

from torch import nn
from torch.utils.data import DataLoader, Dataset

from common.analysis.evaluation import evaluate_fully
from common.layers import channels_last
from common.training import (
    Process,
    Scale,
    announce,
    average_of,
    begin,
    conclude,
    describe,
    evaluate_in_precision,
    evaluation_folder,
    fit,
    grad_scaler,
    make_loader,
    own_name,
    run_folder,
)
from spikingformer.data.images import PUBLISHED, ImageBatches, both_parts, data_root, dataset_name, open_part
from spikingformer.flags import ImageRecipe, network_name, parse_images
from spikingformer.recipe import (
    build_model,
    build_optimizer,
    build_schedule,
    continue_from,
    is_exact,
    mixing,
    training_loss,
)
from spikingformer.results import METRICS, ImageResults, StepLog, write_args


def main(recipe: ImageRecipe, *, testing: bool = False) -> None:
    """Run a script: train and test, or only test given weights."""
    args = parse_images(recipe, testing=testing)
    process = begin(args)
    root = data_root(args, process)
    parts = [open_part(args, root, train=False)] if args.eval else [*both_parts(args, root)]
    model = build_model(args, recipe.variant, process)
    if args.channels_last:
        channels_last(model)
    if args.eval:
        test(args, process, model, *parts)
        return
    train_set, test_set = parts
    describe(model, test_set)
    if process.is_main:
        what = f"{len(train_set)} training and {len(test_set)} test images of {args.img_size} px"
        announce(args, recipe.tiny, f"{network_name(args)}: T={args.T}, {args.num_classes} classes, {what}")
    train(args, process, model, train_set, test_set)


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
    own_test = partial(
        evaluate_in_precision, loader=loader_of(args, process, test_set, train=False), args=args, process=process
    )
    result = evaluate_fully(model, own_test, test_set, process, evaluation_folder(args.output, args.weights))
    if process.is_main:
        metrics = {name: round(result[key], 4) for name, key in METRICS.items() if key in result}
        print(f"{args.weights}: {metrics} of {result['samples']} images")


def train(args: argparse.Namespace, process: Process, model: nn.Module, train_set: Dataset, test_set: Dataset) -> None:
    """Train as the settings say, write the authors' files, and say where everything lies."""
    optimizer, exact, epochs_done = build_optimizer(args, model), is_exact(args.resume), 0
    average = average_of(model, args.model_ema_decay) if args.model_ema else None
    scaler = grad_scaler(args.amp, process, Scale.of(args))
    if args.resume and not exact:
        training = {} if args.no_resume_opt else {"optimizer": optimizer, "scaler": scaler}
        epochs_done = continue_from(args.resume, model, average=average, **training)
    epochs_done = epochs_done if args.start_epoch is None else args.start_epoch
    schedule, epochs = build_schedule(args, optimizer, epochs_done)
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
        evaluate=partial(evaluate_in_precision, loader=test_loader, args=args, process=process),
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
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        epochs_done=epochs_done,
        metadata={"model": args.network, "T": args.T, "num_classes": args.num_classes, "args": vars(args)},
        select=None,
    )
    if process.is_main:
        best = max(history, key=lambda row: row["test_acc1"])
        print(f"*** Best metric: {best['test_acc1']} (epoch {best['epoch'] - 1})")
        own = own_name(args, args.data_dir, test_set, PUBLISHED[dataset_name(args)])
        title = f"{args.network} on {own or dataset_name(args)}, T={args.T}"
        places = {
            "best weights": folder / "model_best.pth.tar",
            "settings": folder / "args.yaml",
            "summary": folder / "summary.csv",
        }
        conclude(history, args.num_classes, folder, title, places)


def folder_of(args: argparse.Namespace, process: Process, exact: bool) -> Path:
    """The folder of this run in `--output`; a run that goes on keeps its own."""
    if args.experiment and not isinstance(args.resume, Path):
        return args.output / args.experiment
    name = args.experiment or f"%Y%m%d-%H%M%S-{args.model}-{args.img_size}"
    return run_folder(args.output, name, args.resume if exact else None, process)
