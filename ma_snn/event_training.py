"""What the six event scripts share: flags, data, network, and the result files of the original."""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import timm
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import ConcatDataset, DataLoader, Dataset

import ma_snn  # noqa: F401  (registers the models)
from common.analysis import figures
from common.analysis.firing_rates import firing_rates
from common.datasets.event_windows import EventWindows
from common.errors import UserError
from common.files import atomic_path, make_folder
from common.training import (
    Process,
    add_arguments,
    fit,
    load_weights,
    main_first,
    make_loader,
    seed_everything,
    start,
)
from ma_snn.config import ALIASES, Config, add_settings, apply
from ma_snn.evaluation import evaluate_clips, one_hot_loss
from ma_snn.models.attention import ATTENTIONS

STEPS_DRAWN = 10


@dataclass(frozen=True)
class Recipe:
    """One script of the paper: its data set, its network, and how its files are called."""

    configs: type[Config]
    model: str
    dataset: type[EventWindows]
    mode_select: str
    title: str
    log: str
    write_tiny: Callable[[Path], Path]
    tiny: dict[str, object]
    """Settings of `--tiny`: short windows and a narrow network for a laptop. None of it is the paper's."""


def parse(recipe: Recipe, arguments: Sequence[str] | None = None) -> tuple[Config, argparse.Namespace]:
    """The settings of `CNN/Config.py`, changed by the command line, and the flags beside them.

    `--tiny` changes defaults only.

    Raises:
        UserError: a combination that cannot run.
    """
    parser = argparse.ArgumentParser(
        description=f"Train {recipe.model} (MA-SNN, TPAMI 2023). CNN/Config.py says what the settings mean.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    config = recipe.configs()
    add_settings(parser, config)
    parser.add_argument("--output-dir", type=Path, help="sets modelPath and recordPath")
    parser.add_argument("--width", type=float, default=1.0, help="multiplies the channels of the network")
    own = {spelling for spellings in ALIASES.values() for spelling in spellings}
    add_arguments(parser, exclude={*own, "--output-dir"})
    parser.set_defaults(mode_select=recipe.mode_select)
    if parser.parse_known_args(arguments)[0].tiny:
        parser.set_defaults(**recipe.tiny, savePath=None)
    args = parser.parse_args(arguments)
    apply(config, args)
    config.modelPath, config.recordPath = (
        Path(args.output_dir or folder) for folder in (config.modelPath, config.recordPath)
    )
    neuron = "_LIAF" if config.mode_select == "mem" else ""
    config.name = config.name or (f"{config.attention}_SNN(CNN){neuron}-{recipe.title}_dt={config.dt}ms_T={config.T}")
    config.modelNames = config.modelNames or f"{config.name}.t7"
    config.recordNames = config.recordNames or f"{config.name}.csv"
    return config, args


def scale_counts(config: Config, frames: Tensor) -> Tensor:
    """`is_spike` and `interval_scaling` for frames `[..., T, 2, X, Y]`: 0 or 1, and division by a window's maximum."""
    if config.is_spike:
        frames = (frames > 0).to(frames.dtype)
    if config.interval_scaling:
        frames = frames / frames.amax(dim=(-4, -3, -2, -1), keepdim=True).clamp(min=1)
    return frames


def datasets(recipe: Recipe, config: Config, process: Process) -> tuple[Dataset, Dataset]:
    """Training and test part; the tiny set is made below `modelPath` when there is no data path."""

    def load(train: bool) -> Dataset:
        parts = [
            recipe.dataset(
                config.savePath,
                train,
                config.T,
                1000 * dt,
                shrink=config.ds,
                clips=config.clip,
                random_start=config.is_train_Enhanced,
                transform=partial(scale_counts, config),
            )
            for dt in (config.dt if isinstance(config.dt, list) else [config.dt])
        ]
        classes = len(getattr(parts[0], "classes", ())) or recipe.dataset.num_classes
        if config.target_size < classes:
            raise UserError(f"target_size = {config.target_size}: {config.savePath} has {classes} classes")
        return ConcatDataset(parts) if len(parts) > 1 else parts[0]

    tiny_root = config.modelPath / "data"
    with main_first(process):
        if config.savePath is None:
            recipe.write_tiny(tiny_root)
        config.savePath = config.savePath or tiny_root
        return load(True), load(False)


def build_model(recipe: Recipe, config: Config, width: float) -> nn.Module:
    """The network that the settings describe, with `pretrained_path` loaded if given."""
    model = timm.create_model(
        recipe.model,
        T=config.T,
        num_classes=config.target_size,
        in_chans=config.in_channels,
        img_size=config.im_width,
        attention=config.attention,
        neuron={"spike": "lif", "mem": "liaf"}[config.mode_select],
        c_ratio=config.c_ratio,
        t_ratio=config.t_ratio,
        alpha=config.alpha,
        beta=config.beta,
        v_threshold=config.Vthres,
        surrogate_half_width=config.lens,
        liaf_threshold_related=config.TR_model == "TR",
        mem_act="none" if config.mem_act is None else "relu",
        init_method=config.init_method,
        width=width,
    )
    if config.pretrained_path:
        load_weights(model, config.pretrained_path)
    return model


def main(recipe: Recipe) -> None:
    """Run one script: train and test, or only test given weights."""
    config, args = parse(recipe)
    process = start(args.device, args.local_rank)
    seed_everything(args.seed, process.rank)
    with log_to(make_folder(config.recordPath) / recipe.log, args.resume) if process.is_main else nullcontext():
        model = build_model(recipe, config, args.width).to(process.device)
        train_set, test_set = datasets(recipe, config, process)
        workers = config.num_workers if hasattr(config, "num_workers") else config.num_work
        loader = partial(
            make_loader,
            process=process,
            seed=args.seed,
            workers=workers,
            pin_memory=config.pip_memory,
        )
        test_loader = loader(test_set, config.batch_size_test, train=False)
        evaluate = partial(evaluate_clips, loader=test_loader, criterion=config.criterion, process=process)
        if config.onlyTest:
            result = evaluate(model)
            if process.is_main:
                print(
                    f"{config.pretrained_path}: test accuracy {result['acc1']:.2f} % of {result['samples']} recordings"
                )
            return
        if process.is_main:
            announce(recipe, config, args, model, train_set, test_set)
        train_loader = loader(train_set, config.batch_size, train=True, drop_last=config.drop_last)
        history = train(recipe, config, args, process, model, train_loader, evaluate)
        if process.is_main:
            report(config, model, history, test_loader)


def train(
    recipe: Recipe,
    config: Config,
    args: argparse.Namespace,
    process: Process,
    model: nn.Module,
    train_loader: DataLoader,
    evaluate: Callable[[nn.Module], dict[str, float]],
) -> list[dict]:
    """Train as the settings say and return one row of metrics per epoch."""
    optimizer = torch.optim.Adam(
        model.parameters(), config.lr, tuple(config.betas), config.eps, weight_decay=config.weight_decay
    )
    return fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=partial(one_hot_loss, config.criterion),
        epochs=config.num_epochs,
        evaluate=evaluate,
        process=process,
        output_dir=config.recordPath / config.name,
        scheduler=ReduceLROnPlateau(optimizer, factor=0.1, patience=5) if config.lr_scheduler else None,
        amp=args.amp,
        on_epoch_end=partial(write_results, config),
        resume=args.resume,
        metadata={
            "model": recipe.model,
            "T": config.T,
            "num_classes": config.target_size,
            "attention": config.attention,
            "mode_select": config.mode_select,
        },
        select=None,
    )


def announce(
    recipe: Recipe, config: Config, args: argparse.Namespace, model: nn.Module, train_set: Dataset, test_set: Dataset
) -> None:
    """Print the settings, what is about to run, and in what `--tiny` differs from the paper."""
    print(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{recipe.model}: {parameters:,} parameters, {len(train_set)} training and {len(test_set)} test recordings, "
        f"windows of {config.T} x {config.dt} ms, {config.clip} per test recording"
    )
    if config.attention == "no":
        choices = ", ".join(kind for kind in ATTENTIONS if kind != "no")
        print(
            f"attention is 'no', as published: this trains the network WITHOUT attention; choose --attention {choices}"
        )
    if args.tiny:
        changed = ", ".join(f"{name}={vars(args)[name]}" for name in recipe.tiny)
        print(f"--tiny is a check of the whole path, not the paper's experiment: {changed}")


def write_results(config: Config, model: nn.Module, history: list[dict]) -> None:
    """The original's files: the model at each new best test accuracy, the table after the last epoch."""
    accuracies = [row["test_acc1"] for row in history]
    if all(accuracies[-1] > past for past in accuracies[:-1]):
        state = {f"module.{key}": value for key, value in model.state_dict().items()}
        content = {"net": state, "acc": accuracies[-1], "epoch": len(history), "acc_record": accuracies}
        with atomic_path(config.modelPath / config.modelNames) as temporary:
            torch.save(content, temporary, _use_new_zipfile_serialization=False)
    if len(history) == config.num_epochs:
        write_table(config.recordPath / config.recordNames, history)


def write_table(path: Path, history: list[dict]) -> None:
    """One column per epoch, and one that has the best epoch for a heading and its test accuracy alone below."""
    best = max(history, key=lambda row: row["test_acc1"])
    rows = {
        "Train_Loss": "train_loss", "Test_Loss": "test_loss", "Train_Accuracy": "train_acc1",
        "Test_Accuracy": "test_acc1",
    }  # fmt: skip
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["Epochs", *(row["epoch"] for row in history), best["epoch"]])
        for name, key in rows.items():
            writer.writerow([name, *(row[key] for row in history), best[key] if key == "test_acc1" else None])


def report(config: Config, model: nn.Module, history: list[dict], test_loader: DataLoader) -> None:
    """Draw the figures of a finished run and say where everything lies."""
    folder = config.recordPath / config.name
    frames, labels = next(iter(test_loader))
    rates = firing_rates(model, frames[:, 0].to(next(model.parameters()).device))
    figures.training_curves(history, folder / "curves.png", config.name)
    figures.firing_rate_chart(rates, folder / "firing_rates.png", f"{config.name}, first test clips")
    picture = frames[0, 0, :STEPS_DRAWN].transpose(-1, -2).numpy()  # the networks see x first, people y
    figures.event_strip(picture, folder / "events.png", f"first test clip, class {labels[0]}")
    best = max(history, key=lambda row: row["test_acc1"])
    print(
        f"best acc: {best['test_acc1']:.2f} best_epoch: {best['epoch']} (selected on the test set); "
        f"last {history[-1]['test_acc1']:.2f} %; mean neuron output {sum(rates.values()) / len(rates):.3f}\n"
        f"model           {config.modelPath / config.modelNames}\n"
        f"table           {config.recordPath / config.recordNames}\n"
        f"checkpoint      {folder / 'checkpoint.pt'}  (continue with --resume)\n"
        f"curves, figures {folder}/curves.png, firing_rates.png, events.png\n"
        f"metrics         {folder / 'log.csv'}"
    )


class Tee:
    """A text stream that writes to several."""

    def __init__(self, *streams: TextIO):
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()


@contextmanager
def log_to(path: Path, resume: object) -> Iterator[None]:
    """Within the block, what is printed also goes to the file `path`, after what a resumed run has left there."""
    with path.open("a" if resume else "w") as log, redirect_stdout(Tee(sys.stdout, log)):
        yield
