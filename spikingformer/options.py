"""The flags of the authors' scripts, and the settings files that fill in their defaults.

Precedence: the command line, then `--tiny`, then the settings file of `-c`, then the defaults below.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from common.errors import UserError
from common.training import Process

SCHEDULES = ("cosine", "tanh", "step", "multistep", "poly")
"""timm's, without `plateau`, which timm gives up because it cannot be resumed."""
POSITIVE = ("T", "num_classes", "batch_size", "val_batch_size", "epochs", "checkpoint_hist", "log_interval")


class Flags(argparse.ArgumentParser):
    """A parser that knows settings files, and which flags have no effect."""

    def __init__(self, description: str):
        super().__init__(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        self.without = []

    def option(self, *names: str, **settings: object) -> None:
        """`add_argument`, for `--a-b` also as `--a_b`; help is shown with the default even where there is none."""
        spellings = dict.fromkeys(each for name in names for each in (name, _underscored(name)))
        self.add_argument(*spellings, **({"help": " "} | settings))

    def without_effect(self, *names: str) -> None:
        """Accept flags with or without values; `parse` names those that were given."""
        for name in names:
            action = self.add_argument(*dict.fromkeys((name, _underscored(name))), nargs="*", help=argparse.SUPPRESS)
            self.without.append(action.dest)

    def parse(
        self, tiny: Mapping[str, object], config: Path | None, arguments: Sequence[str] | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """The arguments, and the names of those that were given and have no effect.

        Args:
            tiny: defaults that `--tiny` on the command line changes.
            config: settings file that is read without `-c`, or None where the script has no `-c`.
            arguments: the command line.

        Raises:
            UserError: a settings file that cannot be used, or numbers that cannot be meant.
        """
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.add_argument("--tiny", action="store_true")
        if config:
            first.add_argument("-c", "--config", type=Path, default=config)
            self.add_argument("-c", "--config", type=Path, default=config, help="settings file (YAML)")
        chosen, _ = first.parse_known_args(arguments)
        settings = read_settings(chosen.config, self) if config else {}
        known = {action.dest for action in self._actions}
        self.set_defaults(**settings)
        if chosen.tiny:
            self.set_defaults(**tiny)
        args = self.parse_args(arguments)
        for name in POSITIVE:
            if (value := getattr(args, name, None)) is not None and value < 1:
                raise UserError(f"{name} = {value}: must be at least 1")
        given = [name for name in self.without if getattr(args, name) is not None]
        return args, given + [name for name in settings if name not in known]


def _underscored(name: str) -> str:
    return "--" + name[2:].replace("-", "_") if name.startswith("--") else name


def read_settings(path: Path, parser: argparse.ArgumentParser) -> dict[str, object]:
    """The settings in a YAML file by attribute, converted as if their flags had been given; unknown keys as they are.

    Raises:
        UserError: there is no such file, it holds something else, or a value does not suit its flag.
    """
    try:
        settings = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as YAML settings ({reason}); give another file with -c") from error
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise UserError(f"{path}: expected lines `flag: value`, such as `epochs: 300`")
    actions = {
        flag.lstrip("-").replace("-", "_"): action for action in parser._actions for flag in action.option_strings
    }
    known = {
        actions[key].dest: _converted(path, actions[key], value) for key, value in settings.items() if key in actions
    }
    return known | {key: value for key, value in settings.items() if key not in actions}


def _converted(path: Path, action: argparse.Action, value: object) -> object:
    """A YAML value as the flag of `action` would read it: YAML takes `5e-4` for text."""
    if value is None or (isinstance(value, bool) and action.nargs in (0, "?")):
        return value
    convert = action.type or str
    number, wanted = len(value) if isinstance(value, list) else None, action.nargs
    one = wanted in (None, "?")
    if wanted != "*" and (one != (number is None) or (isinstance(wanted, int) and wanted != number)):
        raise UserError(f"{path}: {action.dest}: {value!r} does not suit {action.option_strings[-1]}; see --help")
    try:
        result = convert(str(value)) if number is None else [convert(str(each)) for each in value]
    except ValueError as error:
        raise UserError(f"{path}: {action.dest}: {value!r} is no {convert.__name__}") from error
    if action.choices is not None and result not in action.choices:
        raise UserError(f"{path}: {action.dest}: {value!r}; expected one of {', '.join(map(str, action.choices))}")
    return result


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
    option("--epochs", type=int, default=200, help="without cooldown")
    option("--warmup-epochs", type=int, default=3)
    option("--cooldown-epochs", type=int, default=10, help="epochs at the lowest rate, on top of --epochs")
    option("--decay-epochs", type=float, default=30)
    option("--decay-rate", "--dr", type=float, default=0.1)
    option("--lr-noise", type=float, nargs="+")
    option("--lr-noise-pct", type=float, default=0.67)
    option("--lr-noise-std", type=float, default=1.0)
    option("--lr-cycle-mul", type=float, default=1.0)
    option("--lr-cycle-limit", type=int, default=1)
    option("--smoothing", type=float, default=0.1, help="label smoothing")
    option("--mixup", type=float, default=0.0, help="alpha; 0: none")
    option("--cutmix", type=float, default=0.0, help="alpha; 0: none")
    option("--cutmix-minmax", type=float, nargs=2)
    option("--mixup-prob", type=float, default=1.0)
    option("--mixup-switch-prob", type=float, default=0.5)
    option("--mixup-mode", choices=("batch", "pair", "elem"), default="batch")
    option("--mixup-off-epoch", type=int, default=0, help="epoch from which nothing is mixed; 0: never")
    option("--start-epoch", type=int, help="epochs that the weights have behind them")
    option("--sync-bn", action="store_true", help="batch statistics over all processes")


def warn(ignored: Sequence[str], process: Process) -> None:
    """Name, in one line, what was given and has no effect."""
    if ignored and process.is_main:
        print(f"warning: accepted, without effect here: {', '.join(ignored)}", flush=True)


def announce(args: argparse.Namespace, tiny: Mapping[str, object], data: str) -> None:
    """Say what is about to run, and in what `--tiny` differs from the paper."""
    print(f"{network_name(args)}: T={args.T}, {args.num_classes} classes, {data}")
    if args.tiny:
        changed = ", ".join(f"{name}={getattr(args, name)}" for name in tiny)
        print(f"--tiny is a check of the whole path, not the paper's experiment: {changed}")


def network_name(args: argparse.Namespace) -> str:
    """The network in words, such as `spikingformer, cml downsampling`."""
    if args.network == "cml_spikformer":
        return args.network
    return f"{args.network}, {args.downsampling} downsampling"
