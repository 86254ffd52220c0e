"""The flags of the release's scripts, with its defaults.

Flags that do nothing in the release are accepted, so that published commands run, and are named as without effect.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from common.training import Flags, mixes, mixing_options, weights_to_test
from sdt_v3.models import dvs, large
from sdt_v3.models.aliases import names_of

LAUNCHING = ("--world_size", "--dist_on_itp", "--dist_url", "--start_epoch", "--model_mode")
"""Without effect in every script: the launcher says who takes part, the checkpoint where to go on."""

CLASSES = {"har-dvs": 300, "gesture": 11, "gait-day": 21, "gait-night": 21}
UNUSED_ON_EVENTS = ("--layer_decay", "--aa", "--color_jitter", "--reprob", "--remode", "--recount", "--drop_path")
"""The release gives every layer of a DVS network the same rate, and its frames pass through none of the others."""
TINY_IMAGES = {
    "input_size": 64,
    "augment": False,
    "batch_size": 16,
    "num_workers": 0,
    "lr": 1e-2,
    "warmup_epochs": 1,
}
"""A preset for a laptop: small images of ten digits, as they are. None of it is the paper's setting."""
TINY_EVENTS = {
    "nb_classes": 10,
    "time_steps": 4,
    "input_size": 64,
    "embed_dim": (16, 32, 64, 64),
    "depth": 4,
    "batch_size": 16,
    "num_workers": 0,
    "lr": 2e-3,
    "warmup_epochs": 1,
    "epochs": 12,
    "mirror": False,
    "MODEL_EMA_DECAY": 0.95,
}
"""A preset for a laptop: small frames, a narrow and shallow network. None of it is the paper's setting."""


@dataclass(frozen=True)
class ImageRecipe:
    """One family's script: its networks, the settings its authors published, and its preset for `--tiny`."""

    family: ModuleType
    model: str
    tiny: dict[str, object]

    @property
    def is_large(self) -> bool:
        """True for the family that has time steps, stochastic depth, an average and a distillation head."""
        return self.family is large


def parse_images(recipe: ImageRecipe, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The release's flags with its defaults and the common ones beside them.

    Raises:
        UserError: a combination that cannot run.
    """
    flags = Flags(f"Train or evaluate an SDT V3 network of the {recipe.family.__name__.split('.')[-1]} family.")
    training_options(flags, names_of(recipe.family), recipe.model, batch_size=64, blr=6e-4)
    classifier_options(flags, time_steps=1, clip_grad=None)
    image_options(flags)
    if recipe.is_large:
        flags.option("--layer_decay", type=float, default=1.0, help="factor of the learning rate per layer")
        flags.option("--drop_path", type=float, default=0.1, help="stochastic depth of the last block")
        flags.option("--MODEL_EMA", type=int, default=1, help="1: keep, evaluate and save an average of the weights")
        flags.option("--MODEL_EMA_DECAY", type=float, default=0.99996)
    else:
        flags.without_effect("--drop_path", "--layer_decay")
    args = parsed(flags, recipe.tiny, arguments)
    if args.kd and args.distillation_type == "none":
        args.distillation_type = "hard"
    mixes(args)
    return args


def parse_events(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The release's flags with its defaults and the common ones beside them.

    Raises:
        UserError: a combination that cannot run.
    """
    flags = Flags("Train or evaluate an SDT V3 network on event frames.")
    model = "Efficient_Spiking_Transformer_scaling_8_19M"
    training_options(flags, names_of(dvs), model, batch_size=96, blr=6e-4)
    classifier_options(flags, time_steps=8, clip_grad=1.0)
    flags.without_effect(*UNUSED_ON_EVENTS)
    mixing_options(flags)
    option = flags.option
    option("--dataset", choices=tuple(CLASSES), default="har-dvs")
    option("--train_list", type=Path, help="HAR-DVS labels; by default train_label.txt in the data folder")
    option("--test_list", type=Path, help="HAR-DVS labels; by default test_label.txt in the data folder")
    option("--mirror", action=argparse.BooleanOptionalAction, default=True, help="mirror half of the HAR-DVS clips")
    option(
        "--published",
        action="store_true",
        help="HAR-DVS as the release: each frame mirrored by itself, random test windows",
    )
    option("--downsample", type=int, default=1, help="shrinks the sensor of gesture and gait this many times")
    option("--MODEL_EMA_DECAY", type=float, default=0.999, help="of the average of the weights")
    option("--D_Norm", type=float, help="what the neurons divide by, instead of the model's number")
    flags.set_defaults(seed=42)
    args = parsed(flags, TINY_EVENTS, arguments)
    args.nb_classes = args.nb_classes or CLASSES[args.dataset]
    mixes(args)
    return args


def training_options(flags: Flags, models: Sequence[str], model: str, batch_size: int, blr: float) -> None:
    """What pretraining and fine-tuning have in common."""
    option = flags.option
    option("--batch_size", type=int, default=batch_size, minimum=1, help="per process")
    option("--epochs", type=int, default=200, minimum=1)
    option("--accum_iter", type=int, default=1, minimum=1, help="batches per optimizer step")
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
    option("--data_path", type=Path, help="by default data/ImageNet2012 or data")
    option("--output_dir", type=Path, default=Path("output_dir"))
    option("--log_dir", type=Path, help="TensorBoard folder; by default the output folder")
    option("--num_workers", type=int, default=10, help="loader processes, at most one per core")
    option("--pin_mem", action="store_true", default=True)
    option("--no_pin_mem", dest="pin_mem", action="store_false")
    flags.without_effect(*LAUNCHING)
    flags.common()
    flags.set_defaults(amp=None)


def classifier_options(flags: Flags, time_steps: int, clip_grad: float | None) -> None:
    """What fine-tuning adds, for images and events."""
    option = flags.option
    option("--finetune", "--weights", dest="weights", type=Path, help="file or name to start from, or to evaluate")
    option("--time_steps", type=int, default=time_steps, minimum=1, help="T")
    option("--nb_classes", type=int, minimum=1, help="outputs of the network, by default the classes of the data")
    option("--clip_grad", type=float, default=clip_grad, help="largest norm of all gradients together")
    flags.without_effect("--dist_eval", "--global_pool", "--cls_token", "--resplit")


def image_options(flags: Flags) -> None:
    """Augmentation, mixing and distillation."""
    option = flags.option
    option("--augment", action=argparse.BooleanOptionalAction, default=True, help="random crops and what follows")
    option("--color_jitter", type=float)
    option("--aa", default="rand-m9-mstd0.5-inc1", help="timm's name of the augmentation policy")
    option("--reprob", type=float, default=0.25, help="probability of random erasing")
    option("--remode", default="pixel", choices=("const", "rand", "pixel"))
    option("--recount", type=int, default=1)
    option("--repeated_aug", action="store_true", help="show each chosen image three times per epoch")
    mixing_options(flags)
    option("--kd", action="store_true", help="distillation from a teacher")
    option("--teacher_model", default="caformer_b36_in21ft1k", help="timm's name of the teacher, or the authors' name")
    option("--teacher_weights", type=Path, help="weights of the teacher")
    option("--distillation_type", default="none", choices=("none", "soft", "hard"), help="with --kd none means hard")
    option("--distillation_alpha", type=float, default=0.5, help="share of the distillation loss")
    option("--distillation_tau", type=float, default=1.0, help="temperature of soft distillation")


def parsed(flags: Flags, tiny: Mapping[str, object], arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of a script that trains or evaluates, with the log folder and the weights that follow from them.

    Raises:
        UserError: numbers that cannot be meant, or `--eval` without weights.
    """
    args = flags.parse(arguments, tiny)
    args.log_dir = args.log_dir or args.output_dir
    args.weights = weights_to_test(args)
    return args
