"""The flags of the three VGG8 scripts, and the settings that their authors published."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.training import Flags, weights_to_test

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
    augmentation: Callable[[], Callable[[Tensor], Tensor]] | None = None
    pin_memory: bool = True
    tiny_downsample: int = 4


def parse(recipe: Recipe, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The original's flags with its defaults and the common ones beside them; `--tiny` changes defaults only.

    Raises:
        UserError: a combination that cannot run.
    """
    flags = Flags(f"Train {recipe.model} (SMA, AAAI 2025).")
    option = flags.option
    option("--log-dir", type=Path, default=Path("runs"), help="TensorBoard folder")
    option("--model-output-dir", "--output-dir", dest="output_dir", type=Path, default=Path("result_model"))
    option("--num-workers", type=int, default=70, help="loader processes, at most one per core")
    option("-b", "--batch-size", type=int, default=recipe.batch_size, minimum=1, help="per process")
    option("-T", "--timesteps", dest="T", type=int, default=recipe.T, minimum=1, help="frames per recording and steps")
    option("--lr", type=float, default=recipe.lr)
    option("-N", "--epoch", "--epochs", dest="epochs", type=int, default=recipe.epochs, minimum=1)
    option("--num-classes", type=int, minimum=1, help="outputs of the network, by default the classes of the data")
    option("--decay", type=int, default=recipe.epochs, help="period of the cosine schedule in epochs")
    option("--azo", action=argparse.BooleanOptionalAction, default=True, help="attention ZoneOut in training")
    option("--azo-version", choices=("parallel", "loop"), default="parallel", help="which of the paper's two versions")
    option("--lightweight", action="store_true", help="SMA-L instead of SMA")
    option("--width", type=float, default=1.0, help="multiplies the channels of the network")
    option("--augment", action=argparse.BooleanOptionalAction, default=True, help="the published augmentation, if any")
    option("--downsample", type=int, default=1, help="shrinks the sensor this many times")
    option("--split-by", choices=("number", "time"), default="number", help="how a recording is cut into frames")
    flags.common()
    flags.set_defaults(seed=recipe.seed, amp=None, deterministic=True)
    args = flags.parse(arguments, TINY | {"downsample": recipe.tiny_downsample})
    args.weights = weights_to_test(args)
    return args
