"""What the two CIFAR scripts share: flags, data, network, and the result files of the original."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import gac.models  # noqa: F401  registers the networks with timm
from common.analysis import figures
from common.datasets import cifar
from common.errors import UserError
from common.files import atomic_path
from common.ms_resnet.cutmix import CutMix
from common.tiny.images import write_tiny_images
from common.training import (
    Process,
    add_arguments,
    cosine,
    evaluate_classification,
    fit,
    load_weights,
    main_first,
    make_shared_loader,
    seed_everything,
    start,
)
from common.training.checkpoint import save_file
from common.training.record import verdict
from gac.encoders import ENCODERS

DATA = Path(__file__).resolve().parent.parent / "data"
TINY = {
    "T": 2,
    "width": 8,
    "augment": False,
    "cutmix_prob": 0.2,
    "batch_size": 16,
    "lr": 0.05,
    "workers": 0,
    "epochs": 10,
}
"""A preset for a laptop: an eighth of the width, few steps, no mirrored digits. None of it is the paper's setting."""
TINY_SET = {"per_class": 100, "test_per_class": 20}

reduce_output = partial(torch.mean, dim=1)
"""Logits `[B, K]` of the network's output `[B, T, K]`."""


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the mean over T of `[B, T, K]` against labels `[B]` or mixed targets `[B, K]`."""
    return F.cross_entropy(reduce_output(output), target)


def parse(arguments: Sequence[str] | None = None, *, testing: bool = False) -> argparse.Namespace:
    """The original's flags with its defaults and the common ones beside them; `--tiny` changes defaults only.

    `testing` gives those of the test script.

    Raises:
        UserError: a combination that cannot run.
    """
    parser = argparse.ArgumentParser(
        description=f"{'Test' if testing else 'Train'} MS-ResNet18 with gated attention coding on CIFAR (AAAI 2024).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    option = parser.add_argument
    option("--start_epoch", type=int, default=0, help="accepted; the original does not use it either, see --resume")
    option("-b", "--batch_size", type=int, default=32 if testing else 64, help="of all processes together")
    option("-T", "--time", dest="T", type=int, default=6, help="time steps")
    option("-j", "--workers", type=int, default=16, help="loader processes, at most one per core")
    option("--dataset", choices=cifar.DATASETS, default="cifar100", help=" ")
    option("--coding", choices=("gac", "direct", *ENCODERS), default="gac", help="how the image becomes a spike train")
    option("--kernel-size", type=int, default=4, help="of the gate's spatial convolutions")
    option("--width", type=int, default=64, help="channels of the stem")
    option("--download", action="store_true", help="fetch the data set if it is not there")
    if testing:
        option("--weights", type=Path, help="file to test or name in the store, by default ./<DATASET>_T=<T>.pth")
        add_arguments(parser, exclude={"--weights", "--epochs", "--resume", "--eval", "--test-only", "--amp"})
        parser.set_defaults(eval=True)
    else:
        option("--lr", "--learning_rate", dest="lr", type=float, default=0.1, help=" ")
        option("--beta", type=float, default=1.0, help="CutMix: of the Beta distribution; 0 mixes nothing")
        option("--cutmix_prob", type=float, default=0.5, help="CutMix: share of the epochs that are mixed")
        option("--augment", action=argparse.BooleanOptionalAction, default=True, help="random crops and mirroring")
        add_arguments(parser)
    parser.set_defaults(seed=1000, epochs=250)
    if parser.parse_known_args(arguments)[0].tiny:
        parser.set_defaults(**TINY)
    args = parser.parse_args(arguments)
    if testing and not args.weights:
        args.weights = Path(file_name(args) + ".pth")
    if args.T < 1:
        raise UserError(f"-T {args.T}: the network needs at least one time step")
    if args.eval and not args.weights:
        raise UserError("--test-only needs the weights to test: add --weights FILE")
    return args


def file_name(args: argparse.Namespace) -> str:
    """First part of the names of the result files, as in the authors' `CIFAR100_T=6.pth`."""
    return f"{args.dataset.upper()}_T={args.T}"


def data_folder(args: argparse.Namespace, process: Process) -> Path:
    """Where the data set is; downloaded or, if tiny, painted first when that was asked for."""
    root = args.data_path or DATA
    with main_first(process):
        if args.tiny and not args.data_path:
            return write_tiny_images(args.dataset, args.output_dir / "data" / f"{args.dataset}_tiny", **TINY_SET)
        if args.download:
            cifar.download(args.dataset, root)
    return root


def build_model(args: argparse.Namespace, num_classes: int, process: Process) -> nn.Module:
    """The network that the flags describe, with `--weights` loaded if given."""
    create = partial(timm.create_model, T=args.T, num_classes=num_classes, width=args.width)
    if args.coding == "gac":
        model = create("gac_ms_resnet18_cifar", kernel_size=args.kernel_size)
    else:
        model = create("ms_resnet18_cifar", encoding=args.coding if args.coding in ENCODERS else None)
    model = model.to(process.device)
    if args.weights:
        load_weights(model, args.weights)
    return model


def main(*, testing: bool = False) -> None:
    """Run a script: train and test, or only test given weights."""
    args = parse(testing=testing)
    process = start(args.device, args.local_rank)
    seed_everything(args.seed, process.rank)
    normalise = args.coding not in ENCODERS  # these take pixels from 0 to 1
    open_part = partial(
        cifar.cifar, args.dataset, data_folder(args, process), published=not args.tiny or bool(args.data_path)
    )
    test_set = open_part(train=False, transform=cifar.eval_transform(args.dataset, normalise))
    model = build_model(args, len(test_set.classes), process)
    test_loader = loader_of(test_set, args, process, train=False)
    evaluate = partial(
        evaluate_classification,
        loader=test_loader,
        loss_fn=cross_entropy,
        process=process,
        reduce_output=reduce_output,
    )
    if args.eval:
        result = evaluate(model)
        if process.is_main:
            parameters = sum(parameter.numel() for parameter in model.parameters())
            print(f"Test acc={result['acc1']:.2f} % of {result['samples']} images, {parameters:,} parameters")
        return
    train_set = open_part(train=True, transform=cifar.train_transform(args.dataset, args.augment, normalise))
    if process.is_main:
        announce(args, train_set, test_set)
    history = train(args, process, model, loader_of(train_set, args, process, train=True), evaluate)
    if process.is_main:
        report(args, history, len(test_set.classes))


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
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-5)
    num_classes = len(train_loader.dataset.classes)
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
        transform_batch=CutMix(num_classes, args.beta, args.cutmix_prob, "epoch", args.seed),
        reduce_output=reduce_output,
        on_epoch_end=partial(write_results, args),
        resume=args.resume,
        metadata={"data": args.dataset, "coding": args.coding, "T": args.T, "num_classes": num_classes},
        select=None,
    )


def write_results(args: argparse.Namespace, model: nn.Module, history: list[dict]) -> None:
    """The original's files under real names: the log, and the weights of each new best epoch."""
    lines, best = [], {"test_acc1": -1.0}
    for row in history:
        best = row if row["test_acc1"] > best["test_acc1"] else best
        lines.append(
            f"Epoch:[{row['epoch']}/{args.epochs}] loss={row['train_loss']:.5f} acc={row['train_acc1']:.3f} % "
            f"test acc={row['test_acc1']:.3f} % best acc={best['test_acc1']:.3f} %\n"
        )
    with atomic_path(args.output_dir / f"{file_name(args)}.log") as temporary:
        temporary.write_text("".join(lines))
    if best is history[-1]:
        save_file(args.output_dir / f"{file_name(args)}.pth", model.state_dict())


def announce(args: argparse.Namespace, train_set: Dataset, test_set: Dataset) -> None:
    """Say what is about to run, and in what `--tiny` differs from the paper."""
    print(
        f"{args.dataset}, {args.coding} coding: T={args.T}, {len(test_set.classes)} classes, {len(train_set)} training "
        f"and {len(test_set)} test images"
    )
    if args.tiny:
        changed = ", ".join(f"{name}={getattr(args, name)}" for name in TINY)
        print(f"--tiny is a check of the whole path, not the paper's experiment: {changed}")


def report(args: argparse.Namespace, history: list[dict], num_classes: int) -> None:
    """Draw the curves of a finished run and say where everything lies."""
    folder = args.output_dir
    figures.training_curves(history, folder / "curves.png", f"{args.dataset}, {args.coding} coding, T={args.T}")
    print(
        f"{verdict(history, num_classes)}\n"
        f"best weights  {folder / file_name(args)}.pth\n"
        f"checkpoint    {folder / 'checkpoint.pt'}  (continue with --resume)\n"
        f"curves        {folder / 'curves.png'}\n"
        f"metrics       {folder / 'log.csv'}, {folder / file_name(args)}.log"
    )
