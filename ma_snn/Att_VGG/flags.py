"""The flags of the four CIFAR scripts, with the defaults that the authors published."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.training import Flags, weights_to_test

MODELS = {"spiking_vgg7": "att_vgg7"} | {f"spiking_vgg{depth}_bn": f"att_vgg{depth}" for depth in (11, 13, 16, 19)}
"""Name in timm of each value of `--model`. The original's networks without `_bn` leave the attention out."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
POLICIES = ("none", "ta_wide", "ra", "augmix", "imagenet", "cifar10", "svhn")
OPTIMIZERS = ("sgd", "sgd_nesterov", "rmsprop", "adamw")
WITHOUT_EFFECT = (
    "--cupy", "--pretrained", "--disable-uda", "--clean", "--cache-dataset", "--prototype", "--world-size",
    "--dist-url",
)  # fmt: skip
"""Flags of the original whose work the kernels, the launcher and the loop do, or for which there is nothing to do."""
TINY = {
    "model": "spiking_vgg7",
    "width": 0.25,
    "augment": False,
    "train_crop_size": 32,
    "mixup_alpha": 0.0,
    "cutmix_alpha": 0.0,
    "batch_size": 32,
    "opt": "adamw",
    "lr": 2e-3,
    "lr_warmup_epochs": 0,
    "workers": 0,
    "epochs": 12,
}
"""A preset for a laptop: the shallowest network at a quarter of its width, plain digits. None of it is the paper's."""
TINY_ATTENTION = {"c_ratio": 4}
"""What attention needs beside it, as it would have a single hidden unit."""


@dataclass(frozen=True)
class Recipe:
    """One script of the paper."""

    dataset: str
    """cifar10 or cifar100."""
    attention: str
    """Of the network, CSA or no."""

    @property
    def tiny(self) -> dict[str, object]:
        """Defaults of the flags with `--tiny`."""
        return TINY | (TINY_ATTENTION if self.attention != "no" else {})


def parse(recipe: Recipe, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The original's flags with its defaults and the common ones beside them; `--tiny` changes defaults only.

    Raises:
        UserError: a combination that cannot run.
    """
    kind = "without attention" if recipe.attention == "no" else f"with {recipe.attention} attention"
    flags = Flags(f"Train a spiking VGG {kind} on {recipe.dataset.upper()} (MA-SNN, TPAMI 2023).")
    _network_options(flags, recipe)
    _recipe_options(flags)
    _image_options(flags)
    _run_options(flags)
    flags.without_effect(*WITHOUT_EFFECT)
    flags.common()
    flags.set_defaults(dataset=recipe.dataset, attention=recipe.attention, output_dir=Path("logs"), seed=2023, amp=None)
    flags.set_defaults(own_name=None)
    args = flags.parse(arguments, recipe.tiny)
    args.weights = weights_to_test(args)
    if args.opt == "sgd_nesterov" and args.momentum <= 0:
        raise UserError(f"--momentum {args.momentum}: Nesterov's needs a positive one; or give --opt sgd")
    if args.disable_amp:
        args.amp = False
    args.resume = exact(args.resume)
    return args


def exact(resume: Path | bool | None) -> Path | bool | None:
    """What `--resume` means: `latest` is the newest run, `checkpoint_latest.pth` the exact checkpoint beside it."""
    if resume == Path("latest"):
        return True
    if isinstance(resume, Path) and resume.name == "checkpoint_latest.pth":
        return resume.with_name("checkpoint.pt")
    return resume


def _network_options(flags: Flags, recipe: Recipe) -> None:
    option = flags.option
    option("--model", choices=MODELS, default="spiking_vgg11_bn", help="network, by the original's name")
    option("--T", dest="T", type=int, default=1, minimum=1, help="time steps")
    option("--num-classes", type=int, minimum=1, help="outputs of the network, by default the classes of the data")
    option("--width", type=float, default=1.0, help="multiplies the channels of the network")
    flags.set_defaults(c_ratio=16)
    if recipe.attention != "no":
        option("--c-ratio", type=int, default=16, minimum=1, help="channels over hidden units of the attention")


def _recipe_options(flags: Flags) -> None:
    """Loss, optimizer, schedule, averaging."""
    option = flags.option
    option("-b", "--batch-size", type=int, default=32, minimum=1, help="per process")
    option("--epochs", type=int, default=90, minimum=1)
    option(
        "--loss",
        choices=("mse", "ce"),
        default="mse",
        help="mse: squared error against the one-hot label, as the last revision; ce: cross entropy, as the first",
    )
    option("--label-smoothing", type=float, default=0.1, help="of --loss ce")
    option("--opt", choices=OPTIMIZERS, default="sgd")
    option("--lr", type=float, default=0.1)
    option("--momentum", type=float, default=0.9, help="of sgd and rmsprop")
    option("--wd", "--weight-decay", dest="weight_decay", type=float, default=0.0)
    option("--norm-weight-decay", type=float, help="of the batch norms, if another than --weight-decay")
    option("--lr-scheduler", choices=("step", "cosa", "exp"), default="cosa", help="stepped after each epoch")
    option("--lr-warmup-epochs", type=int, default=5, minimum=0)
    option("--lr-warmup-method", choices=("linear", "constant"), default="linear")
    option("--lr-warmup-decay", type=float, default=0.01, help="the warm-up starts with this share of the rate")
    option("--lr-step-size", type=int, default=30, minimum=1, help="of --lr-scheduler step")
    option("--lr-gamma", type=float, default=0.1, help="of --lr-scheduler step and exp")
    option("--clip-grad-norm", type=float, help="largest norm of all gradients together")
    option("--sync-bn", action="store_true", help="batch statistics over all processes")
    option("--model-ema", action="store_true", help="keep, test and save an average of the weights")
    option("--model-ema-steps", type=int, default=32, minimum=1, help="batches between two updates of the average")
    option("--model-ema-decay", type=float, default=0.99998)


def _image_options(flags: Flags) -> None:
    """How pictures are chosen, cut out, changed and mixed."""
    option = flags.option
    option("--augment", action=argparse.BooleanOptionalAction, default=True, help="random crops and what follows")
    option("--train-crop-size", type=int, default=176, minimum=32, help="the authors' commands give 32")
    option("--interpolation", choices=INTERPOLATIONS, default="bilinear", help="of crops and policy")
    option("--auto-augment", choices=POLICIES, default="ta_wide", help="augmentation policy")
    option("--random-erase", type=float, default=0.1, help="probability of erasing a box")
    option("--mixup-alpha", type=float, default=0.2, help="0: none")
    option("--cutmix-alpha", type=float, default=1.0, help="0: none; with both, each batch gets one of the two")
    option("--val-resize-size", type=int, default=232, minimum=1, help="names the folder of the run, nothing else")
    option("--val-crop-size", type=int, default=224, minimum=1, help="names the folder of the run, nothing else")
    option("--ra-sampler", action="store_true", help="repeated augmentation")
    option("--ra-reps", type=int, default=4, minimum=1, help="views of an image with --ra-sampler")
    option("--drop-last", action=argparse.BooleanOptionalAction, default=True, help="a last, smaller training batch")
    option("-j", "--workers", type=int, default=16, minimum=0, help="loader processes, at most one per core")
    option("--disable-pinmemory", action="store_true")
    option("--download", action="store_true", help="fetch the data set if it is not there")


def _run_options(flags: Flags) -> None:
    """Folders, resuming, precision."""
    option = flags.option
    option("--resume-path", help="name of the run's folders instead of one made of settings and time")
    option("--print-logdir", action="store_true", help="print the folders of the run and stop")
    option("--start-epoch", type=int, default=0, minimum=0, help="epochs that the weights have behind them")
    option("--disable-amp", action="store_true", help="the same as --no-amp")


def settings_name(args: argparse.Namespace) -> str:
    """The original's name of a run without the time, behind data set, attention and loss."""
    repeats = args.ra_reps if args.ra_sampler else 0
    return (
        f"{args.own_name or args.dataset}_{args.attention}_{args.loss}_{args.model}_b{args.batch_size}_e{args.epochs}"
        f"_{args.opt}_lr{args.lr}_wd{args.weight_decay}_ls{args.label_smoothing}_ma{args.mixup_alpha}_ca{args.cutmix_alpha}"
        f"_sbn{int(args.sync_bn)}_ra{repeats}_re{args.random_erase}_aaug{args.auto_augment}"
        f"_size{args.train_crop_size}_{args.val_resize_size}_{args.val_crop_size}_seed{args.seed}_T{args.T}"
    )
