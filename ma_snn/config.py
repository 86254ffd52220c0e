"""What the three `CNN/Config.py` share: the places for a run's state, printing, and the command line."""

import argparse
from pathlib import Path

import torch
from torch import nn

from common.errors import UserError

ALIASES = {
    "savePath": ("--data-path",),
    "num_epochs": ("--epochs",),
    "onlyTest": ("--eval", "--test-only"),
    "pretrained_path": ("--weights",),
    "num_work": ("--num-workers",),
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
ACTIVATIONS = {"relu": torch.relu, "none": None}
"""`mem_act` on the command line."""
SENSOR_SIDE = 128


class Config:
    """Base of `configs`; printed, it gives one `name==value` line per attribute and an empty line.

    The attributes set here are where the original kept the state of a run. They are no settings and stay as they are.
    """

    def __init__(self):
        self.train_dataset = self.test_dataset = self.train_loader = self.test_loader = None
        self.model = self.optimizer = self.device = self.device_ids = self.state = None
        self.epoch = self.best_acc = self.best_epoch = 0
        self.train_loss = self.train_correct = self.train_acc = 0
        self.test_loss = self.test_correct = self.test_acc = 0
        self.epoch_list, self.loss_train_list, self.loss_test_list = [], [], []
        self.acc_train_list, self.acc_test_list = [], []

    def __str__(self) -> str:
        return "".join(f"{name}=={value}\n" for name, value in (settings(self) | vars(self)).items())


def settings(config: Config) -> dict[str, object]:
    """The attributes of `config` that are settings, with their values."""
    state = vars(Config())
    return {name: value for name, value in vars(config).items() if name not in state}


def add_settings(parser: argparse.ArgumentParser, config: Config) -> None:
    """Add an option per setting under its own name, its type that of the default; `--batch-size` is `--batch_size`."""
    for name, default in settings(config).items():
        spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}", *ALIASES.get(name, ())))
        parser.add_argument(*spellings, dest=name, default=default, **_kind(name, default))
    parser.set_defaults(im_width=None, im_height=None)  # they follow ds unless given


def _kind(name: str, default: object) -> dict[str, object]:
    """How `argparse` reads a setting; a help text, if only a blank, makes it show the default."""
    if isinstance(default, bool):
        return {"action": argparse.BooleanOptionalAction, "help": " "}
    if name == "dt":
        return {"type": int, "nargs": "+", "help": "ms; several join their data sets"}
    if isinstance(default, list):
        return {"type": type(default[0]), "nargs": len(default), "help": " "}
    if name == "criterion":
        return {"type": _criterion, "metavar": "NAME", "help": "a loss of torch.nn for outputs and one-hot labels"}
    if name == "mem_act":
        return {"type": lambda text: ACTIVATIONS.get(text, text), "help": "relu or none"}
    return {"type": str if default is None else type(default), "help": " "}


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


def output_folders(here: str) -> tuple[Path, Path]:
    """(`CNN/Result`, `data`) for the `CNN/Config.py` at `here`: where results go and where the data set is."""
    folder = Path(here).resolve().parent
    return folder / "Result", folder.parent / "data"
