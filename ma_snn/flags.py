"""The settings of `CNN/Config.py` as flags of the scripts."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from common.datasets.event_windows import EventWindows
from common.errors import UserError
from common.training import Flags
from ma_snn.config import Config, settings
from ma_snn.models.event_networks import DEPTHS

ALIASES = {
    "savePath": ("--data-path",),
    "num_epochs": ("--epochs",),
    "onlyTest": ("--eval", "--test-only"),
    "pretrained_path": ("--weights",),
    "num_work": ("--num-workers",),
    "target_size": ("--num-classes",),
}
"""Second names of settings, those that every entry script of this project has."""
CHOICES = {
    "mode_select": ("spike", "mem"),
    "TR_model": ("NTR", "TR"),
    "mem_act": (torch.relu, None),
    "track_running_stats": (True,),
    "in_channels": (2,),
}
"""Settings of which the networks know only these values."""
NOT_USED = {
    "Vreset": (0.0,),
    "reduction": (5, 16),
    "T_extend_Conv": (False,),
    "T_extend_BN": (False,),
    "h_conv": (False,),
    "lr_scheduler_epoch": (25,),
    "withoutSpike": (True,),
}
"""Settings that the original has and does not use either, with their published values."""
ACTIVATIONS = {"relu": torch.relu, "none": None}
"""`mem_act` on the command line."""
SENSOR_SIDE = 128


@dataclass(frozen=True)
class Recipe:
    """One script of the paper: its data set, its network, and how its files are called."""

    configs: type[Config]
    model: str
    dataset: type[EventWindows]
    mode_select: str | None
    """Of the LIAF scripts; the others take that of the Config."""
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
    flags = Flags(f"Train {recipe.model} (MA-SNN, TPAMI 2023). CNN/Config.py says what the settings mean.")
    config = recipe.configs()
    add_settings(flags, config)
    flags.option("--output-dir", type=Path, help="sets modelPath and recordPath")
    flags.option("--width", type=float, default=1.0, help="multiplies the channels of the network")
    flags.option("--layers", type=int, choices=DEPTHS, help="convolutions of the network instead of the data set's own")
    flags.common()
    if recipe.mode_select:
        flags.set_defaults(mode_select=recipe.mode_select)
    args = flags.parse(arguments, recipe.tiny | {"savePath": None})
    args.ignored += [name for name, usual in NOT_USED.items() if getattr(args, name, usual[0]) not in usual]
    apply(config, args)
    config.modelPath, config.recordPath = (
        Path(args.output_dir or folder) for folder in (config.modelPath, config.recordPath)
    )
    return config, args


def name_files(config: Config, title: str) -> None:
    """Name a run on the data called `title` as the authors do, where the settings do not."""
    neuron = "_LIAF" if config.mode_select == "mem" else ""
    config.name = config.name or (f"{config.attention}_SNN(CNN){neuron}-{title}_dt={config.dt}ms_T={config.T}")
    config.modelNames = config.modelNames or f"{config.name}.t7"
    config.recordNames = config.recordNames or f"{config.name}.csv"


def add_settings(flags: Flags, config: Config) -> None:
    """Add an option per setting under its own name, its type that of the default."""
    for name, default in settings(config).items():
        flags.option(f"--{name}", *ALIASES.get(name, ()), dest=name, default=default, **_kind(name, default))
    side = SENSOR_SIDE // config.ds
    if (config.im_width, config.im_height) == (side, side):
        flags.set_defaults(im_width=None, im_height=None)  # they follow --ds


def _kind(name: str, default: object) -> dict[str, object]:
    """How `argparse` reads a setting."""
    if isinstance(default, bool):
        return {"action": argparse.BooleanOptionalAction}
    if name == "dt":
        return {"type": int, "nargs": "+", "help": "ms; several join their data sets"}
    if isinstance(default, list):
        return {"type": type(default[0]), "nargs": len(default)}
    if name == "criterion":
        return {"type": _criterion, "metavar": "NAME", "help": "a loss of torch.nn for outputs and one-hot labels"}
    if name == "mem_act":
        return {"type": lambda text: ACTIVATIONS.get(text, text), "help": "relu or none"}
    return {"type": str if default is None else type(default)}


def _criterion(name: str) -> nn.Module:
    if not name.endswith("Loss") or not hasattr(nn, name):
        raise argparse.ArgumentTypeError(f"{name} is no loss of torch.nn; expected a name such as MSELoss")
    return getattr(nn, name)()


def apply(config: Config, args: argparse.Namespace) -> None:
    """Put the parsed settings into `config` and complete what follows from others.

    Raises:
        UserError: a setting that the networks do not have, or settings that contradict each other.
    """
    for name in settings(config):
        setattr(config, name, getattr(args, name))
    if isinstance(config.dt, list) and len(config.dt) == 1:
        (config.dt,) = config.dt
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            allowed = " or ".join(map(str, choices))
            raise UserError(f"{name} = {getattr(config, name)}: the networks know {allowed} only")
    if config.a != 2 * config.lens:
        raise UserError(
            f"a = {config.a} and lens = {config.lens}: lens has to be a / 2, half the width of the surrogate"
        )
    if config.ds < 1 or SENSOR_SIDE % config.ds:
        raise UserError(f"ds = {config.ds}: expected a divisor of {SENSOR_SIDE}, the pixels of a side of the sensor")
    side = SENSOR_SIDE // config.ds
    for name in ("im_width", "im_height"):
        if getattr(config, name) not in (None, side):
            raise UserError(f"{name} = {getattr(config, name)}: with ds = {config.ds} it is {side}; change ds")
        setattr(config, name, side)
    if config.onlyTest and not config.pretrained_path:
        raise UserError("onlyTest needs the weights to test: add --pretrained_path FILE")
