"""The flags of the authors' scripts with their defaults, and their settings files."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.training import Flags, mixing_options, weights_to_test

HERE = Path(__file__).resolve().parent
SCHEDULES = ("cosine", "tanh", "step", "multistep", "poly")
"""timm's, without `plateau`, which timm gives up because it cannot be resumed."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
IMAGES_WITHOUT_EFFECT = (
    "-L", "--layer", "--patch-size", "--input-size", "--pretrained", "--gp", "--drop", "--drop-connect", "--drop-path",
    "--drop-block", "--bn-tf", "--bn-momentum", "--bn-eps", "--train-split", "--val-split", "--patience-epochs",
    "--epoch-repeats", "--aug-splits", "--jsd", "--split-bn", "--resplit", "--dist-bn", "--model-ema-force-cpu",
    "--recovery-interval", "--save-images", "--apex-amp", "--native-amp", "--no-prefetcher",
    "--tta", "--use-multi-epochs-loader", "--torchscript", "--log-wandb", "--pin-mem",
)  # fmt: skip
"""Flags of the authors' scripts that have none there either, or that no published run uses."""
EVENTS_WITHOUT_EFFECT = ("--world-size", "--dist-url", "--tb", "--no-tb", "--patience-epochs", "--epoch-repeats")
"""Flags of the authors' scripts whose work the launcher and the loop do."""


@dataclass(frozen=True)
class ImageRecipe:
    """One data set of the papers: its settings file, the network to fall back on, and its preset for `--tiny`."""

    config: Path
    variant: str
    dataset: str
    tiny: dict[str, object]


TINY_IMAGES = {
    "T": 2,
    "img_size": 32,
    "dim": 64,
    "depths": 1,
    "num_heads": 4,
    "no_aug": True,
    "reprob": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "batch_size": 32,
    "val_batch_size": 100,
    "workers": 0,
    "amp": False,
    "lr": 4e-3,
    "warmup_epochs": 0,
    "cooldown_epochs": 0,
    "epochs": 16,
}
"""A preset for a laptop: a narrow network of one block, few steps, no augmentation. None of it is the papers'."""

IMAGENET = ImageRecipe(HERE / "imagenet/imagenet.yml", "8_768", "imagenet", TINY_IMAGES | {"img_size": 64})
CIFAR10 = ImageRecipe(HERE / "cifar10/cifar10.yml", "cifar_4_384", "torch/cifar10", TINY_IMAGES)
CIFAR100 = ImageRecipe(HERE / "cifar100/cifar100.yml", "cifar_4_384", "torch/cifar100", TINY_IMAGES)


@dataclass(frozen=True)
class EventRecipe:
    """One data set of the papers."""

    dataset: str
    folder: str
    epochs: int
    names: tuple[str, ...] = ()
    """Further names of the data set that `--dataset` takes."""


TINY_EVENTS = {
    "T": 4,
    "dim": 64,
    "depths": 1,
    "num_heads": 4,
    "downsample": 4,
    "augment": False,
    "mixup": 0.0,
    "workers": 0,
    "amp": False,
    "lr": 4e-3,
    "warmup_epochs": 0,
    "cooldown_epochs": 0,
    "epochs": 12,
}
"""A preset for a laptop: a narrow network of one block, few steps, 32 x 32 pixels. None of it is the papers'."""

CIFAR10_DVS = EventRecipe("cifar10dvs", "cifar10dvs", epochs=96)
DVS128_GESTURE = EventRecipe("dvs128", "DVS128Gesture", epochs=192, names=("dvs128_gesture",))


def image_flags(recipe: ImageRecipe) -> Flags:
    """The authors' flags with their defaults, the common ones beside them."""
    flags = Flags(f"Spikingformer on {recipe.dataset.removeprefix('torch/')}.")
    option = flags.option
    option("--model", default="vitsnn", help="names the folder of the run, nothing else; see --network")
    option("-data-dir", "--data-dir", "--data-path", dest="data_dir", type=Path, help="folder of the data set")
    option("-d", "--dataset", default=recipe.dataset, help="imagenet, torch/cifar10 or torch/cifar100")
    option("-T", "--time-step", dest="T", type=int, default=4, minimum=1, help="time steps")
    option("--num-classes", type=int, minimum=1, help="outputs of the network, by default the classes of the data")
    option("-b", "--batch-size", type=int, default=32, minimum=1, help="per process")
    option("-vb", "--val-batch-size", type=int, default=16, minimum=1, help="per process")
    option("-j", "--workers", type=int, default=4, help="loader processes, at most one per core")
    network_options(flags)
    recipe_options(flags)
    _augmentation_options(flags)
    _saving_options(flags)
    option("--output", "--output-dir", dest="output", type=Path, default=Path("output/train"), help="holds the runs")
    option("--experiment", default="", help="name of the run's folder instead of <time>-<model>-<size>")
    option("--weights", "--initial-checkpoint", dest="weights", type=Path, help="file or name in the store")
    flags.without_effect(*IMAGES_WITHOUT_EFFECT)
    flags.common()
    flags.set_defaults(seed=42)
    return flags


def _augmentation_options(flags: Flags) -> None:
    """How pictures are cut out, changed and normalised."""
    option = flags.option
    option("--no-aug", action="store_true", help="the central square of each image, not augmented")
    option("--scale", type=float, nargs=2, default=[0.08, 1.0], help="share of the area that a crop keeps")
    option("--ratio", type=float, nargs=2, default=[1.0, 1.0], help="width over height of a crop")
    option("--hflip", type=float, default=0.5, help="probability of mirroring")
    option("--vflip", type=float, default=0.0)
    option("--color-jitter", type=float, default=0.4, help="without --aa only")
    option("--aa", help="augmentation policy, by timm's name")
    option("--reprob", type=float, default=0.0, help="probability of random erasing")
    option("--remode", default="const", choices=("const", "rand", "pixel"))
    option("--recount", type=int, default=1)
    option("--train-interpolation", default="random", choices=("random", *INTERPOLATIONS))
    option("--interpolation", default="", choices=("", *INTERPOLATIONS), help="in evaluation; by default bicubic")
    option("--crop-pct", type=float, help="share of the resized side that evaluation keeps")
    option("--mean", type=float, nargs=3)
    option("--std", type=float, nargs=3)


def _saving_options(flags: Flags) -> None:
    """Clipping, averaging, checkpoints and logging."""
    option = flags.option
    option("--clip-grad", type=float, help="largest norm of all gradients together")
    option("--clip-mode", choices=("norm",), default="norm")
    option("--channels-last", action="store_true", help="convolutions in NHWC: faster on many processors")
    option("--model-ema", action="store_true", help="keep, test and save an average of the weights")
    option("--model-ema-decay", type=float, default=0.9998)
    option("--eval-metric", choices=("top1", "top5", "loss"), default="top1", help="decides which checkpoints are kept")
    option("--checkpoint-hist", type=int, default=10, minimum=1, help="number of checkpoints to keep")
    option("--no-resume-opt", action="store_true", help="take only the weights from an authors' checkpoint")
    option("--log-interval", type=int, default=1000, minimum=1, help="batches between two lines")


def parse_images(
    recipe: ImageRecipe, arguments: Sequence[str] | None = None, *, testing: bool = False
) -> argparse.Namespace:
    """The flags of a script for images, filled in from its settings file.

    Raises:
        UserError: a combination that cannot run.
    """
    return checked(image_flags(recipe).parse(arguments, recipe.tiny, recipe.config), testing)


def checked(args: argparse.Namespace, testing: bool) -> argparse.Namespace:
    """`args` with the weights to test, if they are to be tested.

    Raises:
        UserError: there are none.
    """
    args.eval = args.eval or testing
    args.weights = weights_to_test(args, "--resume FILE or --weights FILE")
    return args


def parse_events(recipe: EventRecipe, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The authors' flags of an event script with their defaults, the common ones beside them.

    Raises:
        UserError: a combination that cannot run.
    """
    flags = Flags(f"Train Spikingformer on {recipe.folder}.")
    option = flags.option
    option("--model", default="SEWResNet", help="names the folder of the run, nothing else; see --network")
    names = (recipe.dataset, recipe.folder, recipe.folder.lower(), *recipe.names)
    option("--dataset", choices=tuple(dict.fromkeys(names)), default=recipe.dataset)
    option("--num-classes", type=int, minimum=1, help="outputs of the network, by default the classes of the data")
    option("-b", "--batch-size", type=int, default=16, minimum=1, help="per process")
    option("-j", "--workers", type=int, default=4, help="loader processes, at most one per core")
    option("-T", "--T", dest="T", type=int, default=16, minimum=1, help="frames per recording")
    option("--T_train", type=int, help="frames of them that each training batch keeps, chosen at random")
    option("--connect_f", default="ADD", help="names the folder of the run, nothing else")
    option("--print-freq", dest="log_interval", type=int, default=256, minimum=1, help="batches between two lines")
    option("--augment", action=argparse.BooleanOptionalAction, default=True, help="the published augmentation")
    option("--downsample", type=int, default=1, help="shrinks the sensor this many times")
    option(
        "--split",
        choices=("first", "seeded"),
        default="first",
        help="CIFAR10-DVS: the first 90 %% of each class by name are for training, as published, or chosen by a seed",
    )
    network_options(flags)
    recipe_options(flags)
    flags.without_effect(*EVENTS_WITHOUT_EFFECT)
    flags.common()
    flags.set_defaults(
        opt="adamw", opt_eps=1e-8, weight_decay=0.06, sched="cosine", lr=1e-3, warmup_lr=1e-5, warmup_epochs=10,
        decay_epochs=20, epochs=recipe.epochs, mixup=0.5, mixup_prob=0.5, mixup_off_epoch=75, amp=True, seed=2021,
        deterministic=True,
        output_dir=Path("logs"),
    )  # fmt: skip
    args = flags.parse(arguments, TINY_EVENTS)
    args.img_size = args.img_size or 128 // args.downsample
    args.weights = weights_to_test(args)
    if args.T_train is not None and not 1 <= args.T_train <= args.T:
        raise UserError(f"--T_train {args.T_train}: must be from 1 to T = {args.T}")
    return args


def network_options(flags: Flags) -> None:
    """Which network of the two papers, and its size."""
    option = flags.option
    option("--network", choices=("spikingformer", "cml_spikformer"), default="spikingformer", help="family")
    option("--downsampling", choices=("spikingformer", "cml"), default="spikingformer", help="cml: the CML paper's")
    option("--dim", type=int, help="width of the tokens")
    option("--depths", type=int, help="number of blocks")
    option("--num-heads", type=int, help="attention heads, a divisor of --dim")
    option("--mlp-ratio", type=int, help="hidden width of the MLP over --dim")
    option("--img-size", type=int, help="pixels per side")
    option("--stochastic-depth", type=float, default=0.0, help="of the last block; the authors set 0.2, never used")


def recipe_options(flags: Flags) -> None:
    """Optimizer, schedule and mixing, under the authors' names."""
    option = flags.option
    option("--opt", default="sgd", help="optimizer, by timm's name")
    option("--opt-eps", type=float)
    option("--opt-betas", type=float, nargs=2)
    option("--momentum", type=float, default=0.9)
    option("--weight-decay", type=float, default=1e-4)
    option("--sched", choices=SCHEDULES, default="step", help="schedule of the learning rate, by timm's name")
    option("--lr", type=float, default=0.01)
    option("--warmup-lr", type=float, default=1e-4)
    option("--min-lr", type=float, default=1e-5)
    option("--epochs", type=int, default=200, minimum=1, help="without cooldown")
    option("--warmup-epochs", type=int, default=3)
    option("--cooldown-epochs", type=int, default=10, help="epochs at the lowest rate, on top of --epochs")
    option("--decay-epochs", type=float, default=30)
    option("--decay-rate", "--dr", type=float, default=0.1)
    option("--lr-noise", type=float, nargs="+")
    option("--lr-noise-pct", type=float, default=0.67)
    option("--lr-noise-std", type=float, default=1.0)
    option("--lr-cycle-mul", type=float, default=1.0)
    option("--lr-cycle-limit", type=int, default=1)
    mixing_options(flags)
    option("--mixup-off-epoch", type=int, default=0, help="epoch from which nothing is mixed; 0: never")
    option("--start-epoch", type=int, help="epochs that the weights have behind them")
    option("--sync-bn", action="store_true", help="batch statistics over all processes")


def network_name(args: argparse.Namespace) -> str:
    """The network in words, such as `spikingformer, cml downsampling`."""
    if args.network == "cml_spikformer":
        return args.network
    return f"{args.network}, {args.downsampling} downsampling"
