"""The run of the six event scripts: from recordings to result files."""

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset

import ma_snn  # noqa: F401  (registers the models)
from common.analysis import figures
from common.analysis.evaluation import evaluate_fully
from common.analysis.firing_rates import firing_rates, write_rates
from common.files import make_folder
from common.training import (
    Process,
    Scale,
    announce,
    begin,
    describe,
    evaluation_folder,
    fit,
    fused,
    make_loader,
    own_name,
    start_from,
)
from ma_snn.config import Config
from ma_snn.data.events import datasets
from ma_snn.evaluation import evaluate_clips, one_hot_loss
from ma_snn.flags import Recipe, name_files, parse
from ma_snn.models.attention import ATTENTIONS
from ma_snn.models.event_networks import DEPTHS
from ma_snn.results import log_to, write_results

STEPS_DRAWN = 10


def build_model(recipe: Recipe, config: Config, args: argparse.Namespace, process: Process) -> nn.Module:
    """The network that the settings describe, with `pretrained_path` loaded if given."""
    import timm

    layers = {} if args.layers is None else {"stages": DEPTHS[args.layers]}
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
        width=args.width,
        **layers,
    )
    start_from(model, config.pretrained_path, process, testing=config.onlyTest)
    return model


def main(recipe: Recipe) -> None:
    """Run one script: train and test, or only test given weights."""
    config, args = parse(recipe)
    process = begin(args)
    with log_to(make_folder(config.recordPath) / recipe.log, args.resume) if process.is_main else nullcontext():
        model = build_model(recipe, config, args, process).to(process.device)
        train_set, test_set = datasets(recipe, config, process)
        own = own_name(args, config.savePath, test_set, recipe.dataset.num_classes)
        name_files(config, own or recipe.title)
        describe(model, test_set, binary=config.is_spike, to_one=config.interval_scaling)
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
            folder = evaluation_folder(config.recordPath, config.pretrained_path)
            result = evaluate_fully(model, evaluate, test_set, process, folder)
            if process.is_main:
                print(
                    f"{config.pretrained_path}: test accuracy {result['acc1']:.2f} % of {result['samples']} recordings"
                )
            return
        if process.is_main:
            print(config)
            announce(args, recipe.tiny, summary(recipe, config, model, train_set, test_set))
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
        model.parameters(), config.lr, tuple(config.betas), config.eps, weight_decay=config.weight_decay, **fused(model)
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
        loss_mean="batches",
        on_epoch_end=partial(write_results, config),
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        metadata={
            "model": recipe.model,
            "T": config.T,
            "num_classes": config.target_size,
            "attention": config.attention,
            "mode_select": config.mode_select,
        },
        select=None,
    )


def summary(recipe: Recipe, config: Config, model: nn.Module, train_set: Dataset, test_set: Dataset) -> str:
    """What is about to run."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    text = (
        f"{recipe.model}: {parameters:,} parameters, {len(train_set)} training and {len(test_set)} test recordings, "
        f"windows of {config.T} x {config.dt} ms, {config.clip} per test recording"
    )
    if config.attention == "no":
        choices = ", ".join(kind for kind in ATTENTIONS if kind != "no")
        text += (
            "\nattention is 'no', as published: this trains the network WITHOUT attention; "
            f"choose --attention {choices}"
        )
    return text


def report(config: Config, model: nn.Module, history: list[dict], test_loader: DataLoader) -> None:
    """Draw the figures of a finished run and say where everything lies."""
    folder = config.recordPath / config.name
    frames, labels = next(iter(test_loader))
    rates = firing_rates(model, frames[:, 0].to(next(model.parameters()).device))
    figures.training_curves(history, folder / "curves.png", config.name, config.target_size)
    write_rates(rates, folder / "firing_rates.csv")
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
