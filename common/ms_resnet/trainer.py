"""The ImageNet trainer of the MS-ResNet family; `python -m common.ms_resnet.train -net resnet34` trains MS-ResNet.

The published trainers of MS-ResNet, GAC, SMA-ResNet and Att-MS-ResNet are one program with a few different constants. A
`Preset` holds those; an entry script is a preset and a call of `main` or, to test weights, of `test`.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.analysis.evaluation import evaluate_fully
from common.datasets.imagenet import check_classes, eval_transform, imagenet, train_transform
from common.errors import UserError
from common.ms_resnet.cutmix import CutMix
from common.ms_resnet.files import Row, Rule, RunFiles, last_epochs
from common.tiny.images import write_tiny_images
from common.training import (
    Flags,
    Process,
    Scale,
    announce,
    as_is,
    begin,
    class_count,
    classes_to_test,
    conclude,
    cosine,
    data_folder,
    describe,
    evaluate_classification,
    evaluation_folder,
    fit,
    fused,
    main_first,
    make_shared_loader,
    mixed_precision,
    own_name,
    run_folder,
    smooth_cross_entropy,
    start_from,
    weights_to_test,
)

if TYPE_CHECKING:
    from torchvision.datasets import ImageFolder

TINY = {
    "T": 2,
    "width": 32,
    "blocks": (1, 1, 1, 1),
    "img_size": 32,
    "min_area": 0.6,
    "auto_augment": False,
    "workers": 0,
    "epochs": 12,
}
"""A preset for a laptop: half the width, four blocks, small images, mild augmentation. Not the papers' setting."""
CLASSES = 1000
"""Of ImageNet."""
TINY_SET = {"per_class": 60, "test_per_class": 10}


@dataclass(frozen=True)
class Preset:
    """What differs between the published trainers; the defaults are MS-ResNet's (arXiv 2112.08954)."""

    nets: Mapping[str, str]
    """Name in timm of each value of `-net`."""
    T: int = 6
    epochs: int = 125
    periods: int = 1
    """The cosine goes from the first rate to 0 in epochs // periods epochs, and then up again."""
    weight_decay: float = 1e-5
    batch_size: int = 256
    workers: int = 2
    reduce_output: Callable[[Tensor], Tensor] = as_is
    """Makes logits `[B, K]` of the network's output."""
    find_unused_parameters: bool = False
    goes_on: bool = False
    """Whether the script is meant to go on from given weights."""
    flags: tuple[str, ...] = ()
    """Those of `FLAGS` that the script has."""
    without_effect: tuple[str, ...] = ()
    """Flags that the original accepts and does not use either."""
    model_flags: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Flags, with the settings of `add_argument`, that become arguments of the network."""
    tiny: Mapping[str, object] = field(default_factory=lambda: TINY)
    """Defaults of the flags with `--tiny`."""
    checkpoint_path: str = "checkpoint"
    log_dir: str = "runs"
    tag: str = "ImageNet_ACC"
    time_now: str = "%A_%d_%B_%Y_%Hh_%Mm_%Ss"
    """Names the folder of a run by its start."""
    save_epoch: int = 30
    rule: Rule = last_epochs
    """Which weights are kept."""
    iterations: bool = True
    """Whether the loss is written to TensorBoard within the epochs too."""


MS_RESNET = Preset(nets={f"resnet{depth}": f"ms_resnet{depth}" for depth in (18, 34, 104)})


def yes(text: str) -> bool:
    """The truth value of a flag's argument."""
    return text.lower() not in ("", "0", "false", "no")


FLAGS = {
    "--beta": {"type": float, "default": 1.0, "help": "CutMix: of the Beta distribution; 0 mixes nothing"},
    "--cutmix_prob": {"type": float, "default": 1.0, "help": "CutMix: share of the batches that are mixed"},
    "--end_early": {"type": yes, "nargs": "?", "const": True, "default": False, "help": "stop before training"},
}
"""Flags that only some of the trainers have."""


def parse(preset: Preset, arguments: Sequence[str] | None = None, *, testing: bool = False) -> argparse.Namespace:
    """The original's flags with its defaults and the common ones beside them; `--tiny` changes defaults only.

    `testing` gives those of a test script.

    Raises:
        UserError: a combination that cannot run.
    """
    flags = Flags(f"{'Test' if testing else 'Train'} {', '.join(preset.nets.values())} on ImageNet.")
    option, batch_size = flags.option, 100 if testing else preset.batch_size
    option("-gpu", type=yes, nargs="?", const=True, default=True, help="false: the same as --device cpu")
    option("-b", "--batch-size", type=int, default=batch_size, help="of all processes together")
    option("-j", "--workers", type=int, default=preset.workers, help="loader processes, at most one per core")
    network_options(flags, preset)
    if testing:
        option("-weights", "--weights", type=Path, required=True, help="file to test, or a name in the store")
        flags.common("--epochs", "--resume", "--eval", "--amp")
        flags.set_defaults(eval=True)
    else:
        _training_options(flags, preset)
    flags.set_defaults(seed=445, output_dir=Path())
    return parse_checked(flags, preset, arguments)


def network_options(flags: Flags, preset: Preset) -> None:
    """Add the flags that describe a network."""
    option = flags.option
    option("-net", required=True, choices=preset.nets, help="network")
    option("-T", "--time", dest="T", type=int, default=preset.T, minimum=1, help="time steps")
    option("--num-classes", type=int, minimum=1, help="outputs of the network, by default the classes of the data")
    option("--img-size", type=int, default=224, help="side of the images, a multiple of 32")
    option("--width", type=int, default=64, help="channels of the stem")
    option("--blocks", type=int, nargs=4, help="blocks of the four stages, if not as published")
    names = [option(flag, **settings).dest for flag, settings in preset.model_flags.items()]
    flags.set_defaults(model_names=names)


def _training_options(flags: Flags, preset: Preset) -> None:
    option = flags.option
    option("-lr", "--lr", type=float, default=0.1, help="initial learning rate")
    option("--t-max", type=int, help=f"period of the cosine in epochs, by default epochs // {preset.periods}")
    option("--min-area", type=float, default=0.08, help="smallest share of the image in a training crop")
    option("--auto-augment", action=argparse.BooleanOptionalAction, default=True, help="AutoAugment, ImageNet policy")
    flags.set_defaults(beta=0.0, cutmix_prob=0.0, end_early=False)
    for flag in preset.flags:
        option(flag, **FLAGS[flag])
    flags.without_effect(*preset.without_effect)
    flags.common()
    flags.set_defaults(epochs=preset.epochs, amp=None)


def parse_checked(flags: Flags, preset: Preset, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The parsed arguments, after `--tiny` has changed the defaults.

    Raises:
        UserError: a combination that cannot run.
    """
    args = flags.parse(arguments, preset.tiny)
    if args.img_size < 32 or args.img_size % 32:
        raise UserError(f"--img-size {args.img_size}: expected a multiple of 32, as images are halved five times")
    args.weights = weights_to_test(args)
    if not getattr(args, "gpu", True):
        args.device = "cpu"
    return args


def main(preset: Preset) -> None:
    """Run a training script: train and test, or only test given weights."""
    args = parse(preset)
    process = begin(args, one_seed=True)  # as all four originals
    root = data_root(args, process)
    test_set = imagenet(root, False, eval_transform(args.img_size))
    if args.eval:
        evaluate_weights(preset, args, process, test_set)
        return
    train_set = imagenet(root, True, train_transform(args.img_size, args.min_area, args.auto_augment))
    check_classes(train_set, test_set)
    if own := own_name(args, args.data_path, test_set, CLASSES):
        preset = replace(preset, tag=f"{own}_ACC")
    model = build_model(preset, args, classes_of(args, test_set), process)
    describe(model, test_set)
    if process.is_main:
        if preset.goes_on and not (args.weights or args.resume):
            print("note: without --weights this starts from scratch, as the original does")
        announce(
            args,
            preset.tiny,
            f"{preset.nets[args.net]}: T={args.T}, {len(test_set.classes)} classes, {args.img_size} x {args.img_size} "
            f"pixels, {len(train_set)} training and {len(test_set)} test images",
        )
    if not args.end_early:
        train(preset, args, process, model, train_set, test_set)


def test(preset: Preset) -> None:
    """Run a test script: top-1 and top-5 accuracy of given weights on the evaluation part."""
    args = parse(preset, testing=True)
    process = begin(args)
    test_set = imagenet(data_root(args, process), False, eval_transform(args.img_size))
    evaluate_weights(preset, args, process, test_set)


def data_root(args: argparse.Namespace, process: Process) -> Path:
    """Where the images are; the tiny ones are painted first."""
    if args.data_path or not args.tiny:
        return args.data_path or data_folder("ImageNet2012")
    with main_first(process):
        return write_tiny_images("imagenet", args.output_dir / "data" / "imagenet_tiny", **TINY_SET)


def classes_of(args: argparse.Namespace, images: "ImageFolder") -> int:
    """The number of classes of the network."""
    return class_count(args.num_classes or classes_to_test(args), len(images.classes), Path(images.root).parent)


def build_model(preset: Preset, args: argparse.Namespace, num_classes: int, process: Process) -> nn.Module:
    """The network that the flags describe, with the weights loaded if given."""
    import timm

    own = {name: getattr(args, name) for name in args.model_names}
    if args.blocks:
        own["blocks"] = tuple(args.blocks)
    name = preset.nets[args.net]
    model = timm.create_model(name, T=args.T, num_classes=num_classes, width=args.width, **own).to(process.device)
    start_from(model, args.weights, process, testing=args.eval)
    return model


def loader_of(images: "ImageFolder", args: argparse.Namespace, process: Process, *, train: bool) -> DataLoader:
    """The images that this process works on, in the order that the flags ask for."""
    return make_shared_loader(
        images, args.batch_size, train=train, process=process, seed=args.seed, workers=args.workers
    )


def loss_of(preset: Preset) -> Callable[[Tensor, Tensor], Tensor]:
    """Label-smoothed cross entropy of the network's output."""
    return lambda output, target: smooth_cross_entropy(preset.reduce_output(output), target)


def train(
    preset: Preset,
    args: argparse.Namespace,
    process: Process,
    model: nn.Module,
    train_set: "ImageFolder",
    test_set: "ImageFolder",
) -> list[Row]:
    """Train as the preset says, write the original's files and return one row of metrics per epoch."""
    num_classes, run_name = classes_of(args, test_set), Path(args.net, str(args.batch_size), str(args.lr), preset.tag)
    folder = run_folder(args.output_dir / preset.checkpoint_path / run_name, preset.time_now, args.resume, process)
    log_dir = args.output_dir / preset.log_dir / run_name / folder.name
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.lr, momentum=0.9, weight_decay=preset.weight_decay, **fused(model)
    )
    evaluate = partial(
        evaluate_classification,
        loader=loader_of(test_set, args, process, train=False),
        loss_fn=loss_of(preset),
        process=process,
        reduce_output=preset.reduce_output,
    )
    files = RunFiles(folder, log_dir, args.net, preset.rule, args.epochs, preset.save_epoch, process)
    with files:
        history = fit(
            model,
            loader_of(train_set, args, process, train=True),
            optimizer=optimizer,
            loss_fn=loss_of(preset),
            epochs=args.epochs,
            evaluate=evaluate,
            process=process,
            output_dir=folder,
            scheduler=cosine(optimizer, args.t_max or max(args.epochs // preset.periods, 1), offset=1),
            amp=mixed_precision(args, process),
            transform_batch=CutMix(num_classes, args.beta, args.cutmix_prob, "batch"),
            reduce_output=preset.reduce_output,
            sync_bn=True,
            find_unused_parameters=preset.find_unused_parameters,
            on_step=partial(files.on_step, args.batch_size) if preset.iterations else None,
            on_epoch_end=files.on_epoch_end,
            resume=args.resume,
            checkpoint_every=args.checkpoint_every,
            scale=Scale.of(args),
            metadata={"model": preset.nets[args.net], "T": args.T, "num_classes": num_classes, "args": vars(args)},
            select=None,
        )
    if process.is_main:
        places = {"weights": f"{folder}/{args.net}-*.pth", "TensorBoard": log_dir}
        conclude(history, num_classes, folder, f"{args.net}, T={args.T}", places)
    return history


def evaluate_weights(preset: Preset, args: argparse.Namespace, process: Process, test_set: "ImageFolder") -> None:
    """Print top-1 and top-5 accuracy of `--weights`, and the size of the network."""
    model = build_model(preset, args, classes_of(args, test_set), process)
    loader = loader_of(test_set, args, process, train=False)
    evaluate = partial(
        evaluate_classification,
        loader=loader,
        loss_fn=loss_of(preset),
        process=process,
        reduce_output=preset.reduce_output,
    )
    result = evaluate_fully(model, evaluate, test_set, process, evaluation_folder(args.output_dir, args.weights))
    if process.is_main:
        top5 = f", top-5 {result['acc5']:.2f} %" if "acc5" in result else ""
        parameters = sum(parameter.numel() for parameter in model.parameters())
        print(
            f"{args.weights}: top-1 {result['acc1']:.2f} %{top5} of {result['samples']} images, "
            f"{parameters:,} parameters"
        )
