"""What the three VGG8 scripts share: flags, data, network, and the result files of the original."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.analysis import figures
from common.analysis.firing_rates import firing_rates
from common.conversion.prepare import prepare
from common.datasets.card import cards
from common.datasets.event_frames import EventFrames
from common.errors import UserError
from common.files import atomic_path
from common.training import (
    Process,
    add_arguments,
    cosine,
    evaluate_classification,
    fit,
    load_weights,
    main_first,
    make_loader,
    mean_over_time,
    seed_everything,
    stack_time_first,
    start,
)
from common.training.checkpoint import save_file
from common.training.record import verdict

ROOT = Path(__file__).resolve().parent.parent

TINY = {
    "T": 4,
    "width": 0.25,
    "augment": False,
    "batch_size": 16,
    "num_workers": 0,
    "lr": 2e-3,
    "epochs": 18,
    "decay": 18,
}
"""A preset for a laptop: a quarter of the width, few steps, no mirrored digits. None of it is the paper's setting."""
TINY_SET = {"classes": 10, "per_class": 100}


@dataclass(frozen=True)
class Recipe:
    """One script of the paper: its data set, its network and the settings that its authors published."""

    script: str
    model: str
    dataset: str
    data_folder: str
    T: int
    batch_size: int
    lr: float
    epochs: int
    seed: int
    optimizer: Callable[..., torch.optim.Optimizer]
    loss_fn: Callable[[Tensor, Tensor], Tensor]
    augment: Callable[[Tensor], Tensor] | None = None
    pin_memory: bool = True
    tiny_downsample: int = 4


def parse(recipe: Recipe, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The original's flags with its defaults and the common ones beside them; `--tiny` changes defaults only.

    Raises:
        UserError: a combination that cannot run.
    """
    parser = argparse.ArgumentParser(
        description=f"Train {recipe.model} (SMA, AAAI 2025).", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    option = parser.add_argument
    option("--log-dir", type=Path, default=Path("runs"), help="TensorBoard folder")
    option("--model-output-dir", "--output-dir", dest="output_dir", type=Path, default=Path("result_model"), help=" ")
    option("--num-workers", type=int, default=70, help="loader processes, at most one per core")
    option("-b", "--batch-size", type=int, default=recipe.batch_size, help="per process")
    option("-T", "--timesteps", dest="T", type=int, default=recipe.T, help="frames per recording and time steps")
    option("--lr", "--learning-rate", dest="lr", type=float, default=recipe.lr, help=" ")
    option("-N", "--epoch", "--epochs", dest="epochs", type=int, default=recipe.epochs, help=" ")
    option("--decay", type=int, default=recipe.epochs, help="period of the cosine schedule in epochs")
    option("--azo", action=argparse.BooleanOptionalAction, default=True, help="attention ZoneOut in training")
    option("--azo-version", choices=("parallel", "loop"), default="parallel", help="which of the paper's two versions")
    option("--lightweight", action="store_true", help="SMA-L instead of SMA")
    option("--width", type=float, default=1.0, help="multiplies the channels of the network")
    option("--augment", action=argparse.BooleanOptionalAction, default=True, help="the published augmentation, if any")
    option("--downsample", type=int, default=1, help="shrinks the sensor this many times")
    option("--split-by", choices=("number", "time"), default="number", help="how a recording is cut into frames")
    add_arguments(parser, exclude={"--output-dir", "--epochs"})
    parser.set_defaults(seed=recipe.seed, amp=None)
    if parser.parse_known_args(arguments)[0].tiny:
        parser.set_defaults(**TINY, downsample=recipe.tiny_downsample)
    args = parser.parse_args(arguments)
    if args.T < 1:
        raise UserError(f"-T {args.T}: the network needs at least one time step")
    if args.eval and not args.weights:
        raise UserError("--test-only needs the weights to test: add --weights FILE")
    return args


def datasets(recipe: Recipe, args: argparse.Namespace, process: Process) -> tuple[EventFrames, EventFrames]:
    """Training and test part; raw recordings (or the tiny set) are converted below the output folder first."""
    source, cache = args.data_path or ROOT / "data" / recipe.data_folder, args.output_dir / "data"
    settings = {"T": args.T, "split_by": args.split_by, "downsample": args.downsample}
    card = cards()[recipe.dataset]
    with main_first(process):
        if args.tiny and not args.data_path:
            source = card.write_tiny(cache / f"{recipe.dataset}_tiny_raw", **TINY_SET)
        root = prepare(card.loader, source, cache / f"{recipe.dataset}_{source.resolve().name}", **settings).root
    cls = card.loader
    return cls(root, True, transform=recipe.augment if args.augment else None, **settings), cls(root, False, **settings)


def build_model(recipe: Recipe, args: argparse.Namespace, num_classes: int, process: Process) -> nn.Module:
    """The network that the flags describe, with `--weights` loaded if given."""
    model = timm.create_model(
        recipe.model,
        T=args.T,
        num_classes=num_classes,
        AZO=args.azo,
        azo_version=args.azo_version,
        lightweight=args.lightweight,
        width=args.width,
    ).to(process.device)
    if args.weights:
        load_weights(model, args.weights)
    return model


def main(recipe: Recipe) -> None:
    """Run one script: train and test, or only test given weights."""
    args = parse(recipe)
    process = start(args.device, args.local_rank)
    seed_everything(args.seed, process.rank)
    train_set, test_set = datasets(recipe, args, process)
    model = build_model(recipe, args, train_set.num_classes, process)
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
        result = evaluate(model)
        if process.is_main:
            print(f"{args.weights}: test accuracy {result['acc1']:.2f} % of {result['samples']:.0f} recordings")
        return
    if process.is_main:
        announce(recipe, args, train_set, test_set)
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
    optimizer = recipe.optimizer(model.parameters(), lr=args.lr)
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
        amp=process.device.type == "cuda" if args.amp is None else args.amp,
        reduce_output=mean_over_time,
        on_epoch_end=partial(write_results, args.output_dir, recipe.script, test_loader, args.epochs),
        resume=args.resume,
        metadata={"model": recipe.model, "T": args.T, "num_classes": train_loader.dataset.num_classes},
        select=None,
        tensorboard_dir=args.log_dir,
    )


def announce(recipe: Recipe, args: argparse.Namespace, train_set: EventFrames, test_set: EventFrames) -> None:
    """Say what is about to run, and in what `--tiny` differs from the paper."""
    height, width = train_set.sensor_size
    print(
        f"{recipe.model}: T={args.T}, {train_set.num_classes} classes, {height} x {width} pixels, "
        f"{len(train_set)} training and {len(test_set)} test recordings, AZO {args.azo_version if args.azo else 'off'}"
    )
    if args.tiny:
        changed = ", ".join(f"{name}={getattr(args, name)}" for name in TINY)
        print(f"--tiny is a check of the whole path, not the paper's experiment: {changed}")


def weights_path(output_dir: Path, script: str) -> Path:
    """Where the weights of the best test epoch go."""
    return output_dir / f"{script}_max.pt"


def write_results(
    output_dir: Path, script: str, test_loader: DataLoader, epochs: int, model: nn.Module, history: list[dict]
) -> None:
    """The original's files: accuracy and loss arrays, and at each new best the firing rates and the weights."""
    columns = {"train_acc": "train_acc1", "test_acc": "test_acc1", "loss": "train_loss", "test_loss": "test_loss"}
    for name, key in columns.items():
        scale = 0.01 if key.endswith("acc1") else 1.0
        with atomic_path(output_dir / f"{script}_{name}.npy") as temporary:
            np.save(temporary, np.array([scale * row[key] for row in history]))
    newest = history[-1]
    new_best = all(newest["test_acc1"] > row["test_acc1"] for row in history[:-1])
    if not new_best and newest["epoch"] < epochs:
        return
    frames, _ = next(iter(test_loader))
    rates = firing_rates(model, frames.to(next(model.parameters()).device))
    folder = output_dir / "spiking_rate" / script
    if new_best:
        save_file(folder / f"spikingrate_epoch{newest['epoch']}.pt", list(rates.values()))
        save_file(weights_path(output_dir, script), model.state_dict())
    if newest["epoch"] == epochs:
        save_file(folder / "name_list.pt", list(rates))


def report(recipe: Recipe, output_dir: Path, model: nn.Module, history: list[dict], test_set: EventFrames) -> None:
    """Draw the figures of a finished run and say where everything lies."""
    folder = output_dir / recipe.script
    frames, label = test_set[0]
    rates = firing_rates(model, frames[:, None].to(next(model.parameters()).device))
    figures.training_curves(history, folder / "curves.png", recipe.model)
    figures.firing_rate_chart(rates, folder / "firing_rates.png", f"{recipe.model}, first test recording")
    figures.event_strip(frames.numpy(), folder / "events.png", f"first test recording, class {test_set.classes[label]}")
    print(
        f"{verdict(history, test_set.num_classes)}\n"
        f"best weights    {weights_path(output_dir, recipe.script)}\n"
        f"checkpoint      {folder / 'checkpoint.pt'}  (continue with --resume)\n"
        f"curves, figures {folder}/curves.png, firing_rates.png, events.png\n"
        f"metrics         {folder / 'log.csv'}"
    )
