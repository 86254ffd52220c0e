"""The run of the two scripts for event data: from recordings to result files."""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from common.analysis.evaluation import evaluate_fully
from common.files import atomic_path
from common.training import (
    Process,
    Scale,
    announce,
    begin,
    conclude,
    describe,
    evaluate_classification,
    evaluation_folder,
    fit,
    labels_of,
    make_loader,
    own_name,
)
from common.training.record import Board
from spikingformer.data.events import FrameBatches, datasets
from spikingformer.flags import TINY_EVENTS, EventRecipe, network_name, parse_events
from spikingformer.recipe import (
    build_model,
    build_optimizer,
    build_schedule,
    continue_from,
    is_exact,
    mixing,
    training_loss,
)
from spikingformer.results import EventResults, StepLog


def main(recipe: EventRecipe) -> None:
    """Run a script: train and test, or only test given weights."""
    args = parse_events(recipe)
    process = begin(args)
    train_set, test_set = datasets(recipe, args, process)
    if own := own_name(args, args.data_path, train_set, type(train_set).num_classes):
        recipe = replace(recipe, folder=own)
    model = build_model(args, "dvs_2_256", process)
    describe(model, test_set)
    loader = partial(
        make_loader,
        batch_size=args.batch_size,
        process=process,
        seed=args.seed,
        workers=args.workers,
    )
    test_loader = loader(test_set, train=False)
    if args.eval:
        own_test = partial(evaluate_classification, loader=test_loader, loss_fn=F.cross_entropy, process=process)
        folder = evaluation_folder(args.output_dir, args.weights)
        result = evaluate_fully(model, own_test, test_set, process, folder)
        if process.is_main:
            print(f"{args.weights}: test accuracy {result['acc1']:.2f} % of {result['samples']} recordings")
        return
    if process.is_main:
        height, width = train_set.sensor_size
        what = f"{len(train_set)} training, {len(test_set)} test recordings of {height} x {width} pixels"
        announce(args, TINY_EVENTS, f"{network_name(args)}: T={args.T}, {args.num_classes} classes, {what}")
    train(recipe, args, process, model, loader(train_set, train=True, drop_last=True), test_loader)


def train(
    recipe: EventRecipe,
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
    run_dir, mix = folder_of(args), mixing(args)
    folder, logs = run_dir / f"lr{args.lr}", run_dir / f"lr{args.lr}_logs"
    boards = {"train": Board(logs / "train", purge=True), "test": Board(logs / "te", purge=True)}
    if process.is_main:
        with atomic_path(logs / "args.txt") as temporary:
            temporary.write_text(f"{args}\n")
    history = fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=training_loss(args, mix is not None),
        epochs=epochs,
        evaluate=partial(evaluate_classification, loader=test_loader, loss_fn=F.cross_entropy, process=process),
        process=process,
        output_dir=folder,
        scheduler=schedule,
        amp=args.amp,
        transform_batch=FrameBatches(mix, args.T_train),
        truth=labels_of,
        top5=args.num_classes >= 5,
        sync_bn=args.sync_bn,
        on_step=StepLog(optimizer, len(train_loader), args.log_interval),
        on_epoch_end=EventResults(args, folder, boards, optimizer, schedule, epochs),
        resume=args.resume if exact else None,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        epochs_done=epochs_done,
        metadata={"model": args.network, "T": args.T, "num_classes": args.num_classes, "args": vars(args)},
        select=None,
    )
    if process.is_main:
        places = {
            "best weights": folder / "checkpoint_max_test_acc1.pth",
            "last weights": folder / f"checkpoint_{epochs - 1}.pth",
            "summary": folder / "summary.csv",
            "TensorBoard": logs,
        }
        conclude(history, args.num_classes, folder, f"{args.network} on {recipe.folder}, T={args.T}", places)


def folder_of(args: argparse.Namespace) -> Path:
    """The folder that the authors' settings give a run; every optimizer but AdamW goes by the name of SGD there."""
    frames = f"T{args.T}" + (f"_Ttrain{args.T_train}" if args.T_train else "")
    optimizer = "adamw" if args.opt == "adamw" else "sgd"
    name = f"{args.model}_b{args.batch_size}_{frames}_wd{args.weight_decay}_{optimizer}_cnf_{args.connect_f}"
    return args.output_dir / name
