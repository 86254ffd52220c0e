"""The run of the three VGG8 scripts: from recordings to result files."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn
from torch.utils.data import DataLoader

from common.analysis import figures
from common.analysis.evaluation import evaluate_fully
from common.analysis.firing_rates import firing_rates, write_rates
from common.datasets.event_frames import EventFrames
from common.errors import UserError
from common.training import (
    Process,
    Scale,
    announce,
    begin,
    class_count,
    classes_to_test,
    conclude,
    cosine,
    describe,
    evaluate_classification,
    evaluation_folder,
    fit,
    fused,
    make_loader,
    mean_over_time,
    mixed_precision,
    own_name,
    stack_time_first,
    start_from,
)
from common.training.record import Board
from sma.data import datasets
from sma.flags import TINY, Recipe, parse
from sma.results import weights_path, write_results

SMALLEST = 32
"""Pixels of the shorter side of a frame."""


def build_model(recipe: Recipe, args: argparse.Namespace, process: Process) -> nn.Module:
    """The network that the flags describe, with `--weights` loaded if given."""
    import timm

    model = timm.create_model(
        recipe.model,
        T=args.T,
        num_classes=args.num_classes,
        AZO=args.azo,
        azo_version=args.azo_version,
        lightweight=args.lightweight,
        width=args.width,
    ).to(process.device)
    start_from(model, args.weights, process, testing=args.eval)
    return model


def main(recipe: Recipe) -> None:
    """Run one script: train and test, or only test given weights."""
    args = parse(recipe)
    process = begin(args)
    train_set, test_set = datasets(recipe, args, process)
    if min(train_set.sensor_size) < SMALLEST:
        size = " x ".join(map(str, train_set.sensor_size))
        raise UserError(
            f"{train_set.root}: frames of {size} pixels are too small for this network, which takes {SMALLEST} x "
            f"{SMALLEST}; lower --downsample"
        )
    if own := own_name(args, args.data_path, train_set, type(train_set).num_classes):
        recipe = replace(recipe, script=f"vgg8_{own}_SMA")
    args.num_classes = class_count(args.num_classes or classes_to_test(args), train_set.num_classes, train_set.root)
    model = build_model(recipe, args, process)
    describe(model, test_set)
    loader = partial(
        make_loader,
        batch_size=args.batch_size,
        process=process,
        seed=args.seed,
        workers=args.num_workers,
        pin_memory=recipe.pin_memory and process.device.type == "cuda",
        collate_fn=stack_time_first,
    )
    test_loader = loader(test_set, train=False)
    evaluate = partial(
        evaluate_classification,
        loader=test_loader,
        loss_fn=recipe.loss_fn,
        process=process,
        reduce_output=mean_over_time,
    )
    if args.eval:
        result = evaluate_fully(model, evaluate, test_set, process, evaluation_folder(args.output_dir, args.weights))
        if process.is_main:
            print(f"{args.weights}: test accuracy {result['acc1']:.2f} % of {result['samples']:.0f} recordings")
        return
    if process.is_main:
        height, width = train_set.sensor_size
        announce(
            args,
            TINY,
            f"{recipe.model}: T={args.T}, {train_set.num_classes} classes, {height} x {width} pixels, {len(train_set)} "
            f"training and {len(test_set)} test recordings, AZO {args.azo_version if args.azo else 'off'}",
        )
    train_loader = loader(train_set, train=True, drop_last=True)
    history = train(recipe, args, process, model, train_loader, test_loader, evaluate)
    if process.is_main:
        report(recipe, args.output_dir, model, history, test_set)


def train(
    recipe: Recipe,
    args: argparse.Namespace,
    process: Process,
    model: nn.Module,
    train_loader: DataLoader,
    test_loader: DataLoader,
    evaluate: Callable[[nn.Module], dict[str, float]],
) -> list[dict]:
    """Train as the recipe says and return one row of metrics per epoch."""
    optimizer = recipe.optimizer(model.parameters(), lr=args.lr, **fused(model))
    board = Board(args.log_dir, purge=False)
    return fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=recipe.loss_fn,
        epochs=args.epochs,
        evaluate=evaluate,
        process=process,
        output_dir=args.output_dir / recipe.script,
        scheduler=cosine(optimizer, args.decay),
        amp=mixed_precision(args, process),
        reduce_output=mean_over_time,
        on_epoch_end=partial(write_results, args.output_dir, recipe.script, test_loader, args.epochs, board),
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        metadata={"model": recipe.model, "T": args.T, "num_classes": args.num_classes},
        select=None,
        tensorboard_dir=args.log_dir,
    )


def report(recipe: Recipe, output_dir: Path, model: nn.Module, history: list[dict], test_set: EventFrames) -> None:
    """Draw the figures of a finished run and say where everything lies."""
    folder = output_dir / recipe.script
    frames, label = test_set[0]
    rates = firing_rates(model, frames[:, None].to(next(model.parameters()).device))
    write_rates(rates, folder / "firing_rates.csv")
    figures.firing_rate_chart(rates, folder / "firing_rates.png", f"{recipe.model}, first test recording")
    figures.event_strip(frames.numpy(), folder / "events.png", f"first test recording, class {test_set.classes[label]}")
    places = {
        "best weights": weights_path(output_dir, recipe.script),
        "figures": f"{folder}/firing_rates.png, events.png",
    }
    conclude(history, test_set.num_classes, folder, recipe.model, places)
