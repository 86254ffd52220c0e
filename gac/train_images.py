"""The run of the two CIFAR scripts: from images to result files."""

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import gac.models  # noqa: F401  registers the networks with timm
from common.analysis.evaluation import evaluate_fully
from common.datasets import cifar
from common.ms_resnet.cutmix import CutMix
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
    make_shared_loader,
    own_name,
    start_from,
)
from gac.data import parts
from gac.encoders import ENCODERS
from gac.flags import TINY, file_name, parse
from gac.results import write_results

reduce_output = partial(torch.mean, dim=1)
"""Logits `[B, K]` of the network's output `[B, T, K]`."""


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the mean over T of `[B, T, K]` against labels `[B]` or mixed targets `[B, K]`."""
    return F.cross_entropy(reduce_output(output), target)


def build_model(args: argparse.Namespace, num_classes: int, process: Process) -> nn.Module:
    """The network that the flags describe, with `--weights` loaded if given."""
    import timm

    create = partial(timm.create_model, T=args.T, num_classes=num_classes, width=args.width)
    if args.coding == "gac":
        model = create("gac_ms_resnet18_cifar", kernel_size=args.kernel_size)
    else:
        model = create("ms_resnet18_cifar", encoding=args.coding if args.coding in ENCODERS else None)
    model = model.to(process.device)
    start_from(model, args.weights, process, testing=args.eval)
    return model


def main(*, testing: bool = False) -> None:
    """Run a script: train and test, or only test given weights."""
    args = parse(testing=testing)
    process = begin(args)
    part = parts(args, process)
    test_set = part(False)
    args.own_name = own_name(args, args.data_path, test_set, cifar.CLASSES[args.dataset])
    args.num_classes = class_count(args.num_classes or classes_to_test(args), len(test_set.classes), test_set.root)
    model = build_model(args, args.num_classes, process)
    describe(model, test_set)
    test_loader = loader_of(test_set, args, process, train=False)
    evaluate = partial(
        evaluate_classification,
        loader=test_loader,
        loss_fn=cross_entropy,
        process=process,
        reduce_output=reduce_output,
    )
    if args.eval:
        result = evaluate_fully(model, evaluate, test_set, process, evaluation_folder(args.output_dir, args.weights))
        if process.is_main:
            parameters = sum(parameter.numel() for parameter in model.parameters())
            print(f"Test acc={result['acc1']:.2f} % of {result['samples']} images, {parameters:,} parameters")
        return
    train_set, name = part(True), args.own_name or args.dataset
    if process.is_main:
        announce(
            args,
            TINY,
            f"{name}, {args.coding} coding: T={args.T}, {len(test_set.classes)} classes, {len(train_set)} training and "
            f"{len(test_set)} test images",
        )
    history = train(args, process, model, loader_of(train_set, args, process, train=True), evaluate)
    if process.is_main:
        title, files = f"{name}, {args.coding} coding, T={args.T}", args.output_dir / file_name(args)
        places = {"best weights": f"{files}.pth", "log": f"{files}.log"}
        conclude(history, args.num_classes, args.output_dir, title, places)


def loader_of(images: Dataset, args: argparse.Namespace, process: Process, *, train: bool) -> DataLoader:
    """The images that this process works on, in the order that the flags ask for."""
    return make_shared_loader(
        images, args.batch_size, train=train, process=process, seed=args.seed, workers=args.workers
    )


def train(
    args: argparse.Namespace,
    process: Process,
    model: nn.Module,
    train_loader: DataLoader,
    evaluate: Callable[[nn.Module], dict[str, float]],
) -> list[dict]:
    """Train as the original does and return one row of metrics per epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-5, **fused(model))
    return fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=cross_entropy,
        epochs=args.epochs,
        evaluate=evaluate,
        process=process,
        output_dir=args.output_dir,
        scheduler=cosine(optimizer, args.epochs),
        amp=args.amp,
        transform_batch=CutMix(args.num_classes, args.beta, args.cutmix_prob, "epoch", args.seed),
        reduce_output=reduce_output,
        on_epoch_end=partial(write_results, args),
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        metadata={"data": args.dataset, "coding": args.coding, "T": args.T, "num_classes": args.num_classes},
        select=None,
    )
