"""The command line of every script: its paper's own flags first, the flags that all scripts have beside them.

Hyphen and underscore are alike, and one thing has the same names everywhere beside those that its authors gave it.
Precedence: the command line, then `--tiny`, then a settings file, then the defaults.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.errors import UserError, nearest
from common.training.settings import read_settings
from common.training.trackers import TRACKERS

SYNONYMS = (
    ("-b", "--batch-size"),
    ("-T", "--T", "--time-steps"),
    ("-j", "--workers", "--num-workers"),
    ("--lr", "--learning-rate"),
    ("--num-classes", "--nb-classes"),
)
"""A flag with one of these names gets the others too, unless they mean something else in its script."""
COMMON = (
    (("--data-path",), {"type": Path, "help": "folder of the data set"}),
    (("--device",), {"default": "auto", "help": "auto, cpu or cuda"}),
    (("--output-dir",), {"type": Path, "default": Path("output"), "help": "folder of checkpoints and logs"}),
    (
        ("--resume",),
        {"nargs": "?", "const": True, "type": Path, "help": "continue from PATH, or from the output folder"},
    ),
    (("--checkpoint-every",), {"type": int, "minimum": 1, "help": "save after so many batches too, not only epochs"}),
    (
        ("--async-checkpoints",),
        {
            "action": "store_true",
            "help": "those within an epoch are written while training goes on, from a copy in memory of weights, "
            "average and optimizer, twice as often for the same loss by a kill",
        },
    ),
    (
        ("--keep-checkpoints",),
        {"type": int, "default": 0, "minimum": 0, "help": "of the last ones so many stay, checkpoint-EPOCH-STEP.pt"},
    ),
    (
        ("--log-every",),
        {"type": int, "minimum": 1, "help": "batches between looks at the loss; by default 1 on the CPU, 10 on CUDA"},
    ),
    (("--seed",), {"type": int, "default": 0, "help": "seed of every random generator"}),
    (("--epochs",), {"type": int, "help": "number of epochs"}),
    (("--tiny",), {"action": "store_true", "help": "built-in tiny data and sizes that finish on a laptop CPU"}),
    (("--eval", "--test-only"), {"dest": "eval", "action": "store_true", "help": "evaluate --weights and stop"}),
    (
        ("--weights",),
        {"type": Path, "help": "weights to start from or to evaluate: a file, or a name in the store"},
    ),
    (
        ("--deterministic",),
        {"action": argparse.BooleanOptionalAction, "default": False, "help": "of cudnn, which is slower then"},
    ),
    (("--amp",), {"action": argparse.BooleanOptionalAction, "default": False, "help": "mixed precision"}),
    (
        ("--grad-checkpointing",),
        {"action": "store_true", "help": "keep the inputs of blocks alone and compute them again: less memory"},
    ),
    (("--amp-dtype",), {"choices": ("bf16", "fp16"), "help": "of mixed precision; by default fp16 on CUDA, else bf16"}),
    (("--compile",), {"action": "store_true", "help": "training through torch.compile"}),
    (("--channels-last",), {"action": "store_true", "help": "convolutions in NHWC, faster on many processors"}),
    (
        ("--static-graph",),
        {"action": "store_true", "help": "several processes look for parameters without gradients once, not each step"},
    ),
    (("--fsdp",), {"action": "store_true", "help": "each process holds a part of weights, gradients and optimizer"}),
    (("--tracker",), {"choices": tuple(TRACKERS), "help": "a service that is told of every epoch too"}),
    (("--local-rank",), {"type": int, "default": -1, "help": "given by the launcher"}),
)


class Flags(argparse.ArgumentParser):
    """A parser in which a flag has all its spellings, and that knows `--tiny` and settings files."""

    def __init__(self, description: str, **settings: object):
        settings = {"formatter_class": argparse.ArgumentDefaultsHelpFormatter} | settings
        # "resolve": a synonym gives way to a flag that the script declares later under that name.
        super().__init__(description=description, conflict_handler="resolve", **settings)
        self.without: list[argparse.Action] = []
        self.minimum: dict[argparse.Action, int] = {}

    def option(self, *names: str, minimum: int | None = None, **settings: object) -> argparse.Action:
        """`add_argument` under all spellings of `names`; a help text, if only a blank, makes it show the default.

        `parse` refuses values below `minimum`, and takes an empty path for the default: "" would be the folder ".".
        """
        more = [name for group in SYNONYMS if {*names} & {*_spelled(group)} for name in _spelled(group)]
        free = [name for name in more if name not in self._option_string_actions]
        is_path = isinstance(settings.get("type"), type) and issubclass(settings["type"], Path)
        settings = {"help": " "} | settings | ({"type": _path} if is_path else {})
        action = self.add_argument(*dict.fromkeys([*_spelled(names), *free]), **settings)
        if minimum is not None:
            self.minimum[action] = minimum
        return action

    def common(self, *without: str) -> None:
        """Add the flags that every script has, but those that it has declared itself or that `without` names."""
        for names, settings in COMMON:
            if not {*names} & {*without, *self._option_string_actions}:
                self.option(*names, **settings)

    def without_effect(self, *names: str) -> None:
        """Accept flags with or without values; `parse` notes which of them were given."""
        for name in names:
            self.without.append(self.add_argument(*_spelled([name]), nargs="*", help=argparse.SUPPRESS))
        listed = ", ".join(action.option_strings[0] for action in self.without)
        self.epilog = f"Accepted for the authors' commands, without effect here: {listed}." if listed else None

    def parse_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None):
        """As in argparse; what is not known is answered with the flags most like it."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            self.error(
                f"unrecognized arguments: {' '.join(unknown)}; {nearest(flag, self._option_string_actions)}--help"
            )
        return known

    def parse(
        self,
        arguments: Sequence[str] | None = None,
        tiny: Mapping[str, object] | None = None,
        config: Path | None = None,
    ) -> argparse.Namespace:
        """The arguments, and as `ignored` the names of what was given and has no effect.

        Args:
            arguments: the command line.
            tiny: defaults that `--tiny` changes.
            config: settings file that is read without `-c`, or None where the script has no `-c`.

        Raises:
            UserError: a settings file that cannot be used, or a number below its minimum.
        """
        if config:
            self.option("-c", "--config", type=Path, default=config, help="settings file (YAML)")
        known, settings = {action.dest for action in self._actions}, {}
        paths = [action.dest for action in self._actions if action.type is _path]
        first, _ = self.parse_known_args(arguments)
        if config:
            settings = read_settings(first.config or config, self)
            empty = {name for name in paths if settings.get(name, ...) is None}
            self.set_defaults(**{name: value for name, value in settings.items() if name not in empty})
        if first.tiny:
            self.set_defaults(**tiny)
        args = self.parse_args(arguments)
        for name in paths:
            if getattr(args, name) is None:
                setattr(args, name, self.get_default(name))
        for action, minimum in self.minimum.items():
            value = getattr(args, action.dest)
            if value is not None and value < minimum:
                where = f"{action.dest} =" if config else action.option_strings[0]
                reason = (
                    "the network needs at least one time step" if action.dest == "T" else f"must be at least {minimum}"
                )
                raise UserError(f"{where} {value}: {reason}")
        given = [action.dest for action in self.without if getattr(args, action.dest) is not None]
        args.ignored = given + [name for name in settings if name not in known]
        return args


def _path(text: str) -> Path | None:
    """The path in an argument; nothing if it is empty."""
    return Path(text) if text else None


def _spelled(names: Sequence[str]) -> list[str]:
    """`names` with `--a-b` also as `--a_b` and the other way round."""
    spellings = []
    for name in names:
        spellings.append(name)
        if name.startswith("--"):
            spellings += ["--" + name[2:].replace("_", "-"), "--" + name[2:].replace("-", "_")]
    return list(dict.fromkeys(spellings))


def mixing_options(flags: Flags) -> None:
    """The flags of timm's mixup and cutmix, see `common.training.mixing`."""
    option = flags.option
    option("--smoothing", type=float, default=0.1, help="label smoothing")
    option("--mixup", type=float, default=0.0, help="alpha; 0: none")
    option("--cutmix", type=float, default=0.0, help="alpha; 0: none")
    option("--cutmix-minmax", type=float, nargs=2, help="share of the side that a cut has, instead of alpha")
    option("--mixup-prob", type=float, default=1.0)
    option("--mixup-switch-prob", type=float, default=0.5, help="of cutmix, where both are on")
    option("--mixup-mode", choices=("batch", "pair", "elem"), default="batch")
