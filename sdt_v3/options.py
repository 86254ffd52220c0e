"""The flags of the release's scripts, with its defaults, each in the spelling with `_` and with `-`.

Flags that do nothing in the release are accepted, so that published commands run, and do nothing here either.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from common.errors import UserError
from common.training import Process, add_arguments

DECLARED_HERE = {"--data-path", "--output-dir", "--epochs", "--weights"}
LAUNCHING = ("--world_size", "--dist_on_itp", "--dist_url", "--start_epoch", "--model_mode")
"""Without effect in every script: the launcher says who takes part, the checkpoint where to go on."""


class Flags(argparse.ArgumentParser):
    """A parser whose `option` adds both spellings of a flag."""

    def __init__(self, description: str):
        super().__init__(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)

    def option(self, *names: str, **settings) -> None:
        """`add_argument`, for `--a_b` also as `--a-b`."""
        spellings = dict.fromkeys(each for name in names for each in (name, "--" + name[2:].replace("_", "-")))
        self.add_argument(*spellings, **({"help": " "} | settings))

    def without_effect(self, names: Iterable[str]) -> None:
        """Accept flags, with or without a value."""
        for name in names:
            self.option(name, nargs="?", help="accepted, without effect as in the release")

    def parse(self, tiny: Mapping[str, object], arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """The arguments; `--tiny` changes the defaults that `tiny` names.

        Raises:
            UserError: numbers that cannot be meant.
        """
        self.set_defaults(amp=None)
        if self.parse_known_args(arguments)[0].tiny:
            self.set_defaults(**tiny)
        args = self.parse_args(arguments)
        args.log_dir = args.log_dir or args.output_dir
        for name in ("batch_size", "epochs", "accum_iter"):
            if getattr(args, name) < 1:
                raise UserError(f"--{name} {getattr(args, name)}: must be at least 1")
        return args


def training_options(flags: Flags, models: Sequence[str], model: str, batch_size: int, blr: float) -> None:
    """What pretraining and fine-tuning have in common."""
    option = flags.option
    option("--batch_size", type=int, default=batch_size, help="per process")
    option("--epochs", type=int, default=200)
    option("--accum_iter", type=int, default=1, help="batches per optimizer step")
    option("--model", choices=models, default=model, metavar="NAME", help=f"one of {', '.join(models)}")
    option("--embed_dim", type=int, nargs="+", help="widths of the stages instead of the model's")
    option("--depth", type=int, help="transformer blocks instead of the model's number")
    option("--max_value", type=int, default=4, help="D, the largest integer a neuron emits")
    option("--input_size", type=int, default=224, help="pixels per side")
    option("--weight_decay", type=float, default=0.05)
    option("--lr", type=float, help="highest learning rate; by default blr * (images per step) / 256")
    option("--blr", type=float, default=blr, help="learning rate per 256 images")
    option("--min_lr", type=float, default=1e-6)
    option("--warmup_epochs", type=float, default=10)
    option("--data_path", type=Path, help="by default ./data")
    option("--output_dir", type=Path, default=Path("output_dir"))
    option("--log_dir", type=Path, help="TensorBoard folder; by default the output folder")
    option("--num_workers", type=int, default=10, help="loader processes, at most one per core")
    option("--pin_mem", action="store_true", default=True)
    option("--no_pin_mem", dest="pin_mem", action="store_false")
    flags.without_effect(LAUNCHING)
    add_arguments(flags, exclude=DECLARED_HERE)


def classifier_options(flags: Flags, time_steps: int, nb_classes: int | None, clip_grad: float | None) -> None:
    """What fine-tuning adds, for images and events."""
    option = flags.option
    option("--finetune", "--weights", dest="finetune", type=Path, help="file or name to start from, or to evaluate")
    option("--time_steps", type=int, default=time_steps, help="T")
    option("--nb_classes", type=int, default=nb_classes)
    option("--clip_grad", type=float, default=clip_grad, help="largest norm of all gradients together")
    option("--layer_decay", type=float, default=1.0, help="factor of the learning rate per layer (large family)")
    option("--smoothing", type=float, default=0.1, help="label smoothing")
    flags.without_effect(("--dist_eval", "--global_pool", "--cls_token", "--resplit"))


def image_options(flags: Flags) -> None:
    """Augmentation, mixing and distillation."""
    option = flags.option
    option("--augment", action=argparse.BooleanOptionalAction, default=True, help="random crops and what follows")
    option("--color_jitter", type=float)
    option("--aa", default="rand-m9-mstd0.5-inc1", help="timm's name of the augmentation policy")
    option("--reprob", type=float, default=0.25, help="probability of random erasing")
    option("--remode", default="pixel")
    option("--recount", type=int, default=1)
    option("--repeated_aug", action="store_true", help="show each chosen image three times per epoch")
    option("--mixup", type=float, default=0.0, help="alpha")
    option("--cutmix", type=float, default=0.0, help="alpha")
    option("--cutmix_minmax", type=float, nargs="+")
    option("--mixup_prob", type=float, default=1.0)
    option("--mixup_switch_prob", type=float, default=0.5)
    option("--mixup_mode", default="batch", choices=("batch", "pair", "elem"))
    option("--kd", action="store_true", help="distillation from a teacher")
    option("--teacher_model", default="caformer_b36_in21ft1k", help="timm's name of the teacher, or the authors' name")
    option("--teacher_weights", type=Path, help="weights of the teacher")
    option("--distillation_type", default="none", choices=("none", "soft", "hard"), help="with --kd none means hard")
    option("--distillation_alpha", type=float, default=0.5, help="share of the distillation loss")
    option("--distillation_tau", type=float, default=1.0, help="temperature of soft distillation")


def weights_to_evaluate(args: argparse.Namespace) -> None:
    """Let `--eval` also read the weights that `--resume FILE` names, as the release does.

    Raises:
        UserError: `--eval` without weights.
    """
    if args.eval and isinstance(args.resume, Path):
        args.finetune = args.finetune or args.resume
    if args.eval and not args.finetune:
        raise UserError("--eval needs the weights to evaluate: add --weights FILE")


def peak_rate(args: argparse.Namespace, process: Process) -> float:
    """The highest learning rate: `--lr`, or `--blr` for every 256 images per optimizer step.

    Raises:
        UserError: it is not positive.
    """
    images = args.batch_size * args.accum_iter * process.world_size
    rate = args.blr * images / 256 if args.lr is None else args.lr
    if rate <= 0:
        raise UserError(f"the learning rate is {rate:g}; give a positive --lr or --blr")
    return rate


def mixed_precision(args: argparse.Namespace, process: Process) -> bool:
    """Whether to compute in half precision: on CUDA unless told otherwise, as the release always does."""
    return process.device.type == "cuda" if args.amp is None else args.amp


def announce(args: argparse.Namespace, tiny: Mapping[str, object], what: str) -> None:
    """Say what is about to run, and in what `--tiny` differs from the paper."""
    print(f"{args.model}: {what}")
    if args.tiny:
        changed = ", ".join(f"{name}={getattr(args, name)}" for name in tiny)
        print(f"--tiny is a check of the whole path, not the paper's experiment: {changed}")
