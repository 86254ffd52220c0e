"""The flags of the two CIFAR scripts, with the defaults that the authors published."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.datasets import cifar
from common.training import Flags, weights_to_test
from gac.encoders import ENCODERS

TINY = {
    "T": 2,
    "width": 8,
    "augment": False,
    "cutmix_prob": 0.2,
    "batch_size": 16,
    "lr": 0.05,
    "workers": 0,
    "epochs": 10,
}
"""A preset for a laptop: an eighth of the width, few steps, no mirrored digits. None of it is the paper's setting."""


def parse(arguments: Sequence[str] | None = None, *, testing: bool = False) -> argparse.Namespace:
    """The original's flags with its defaults and the common ones beside them; `--tiny` changes defaults only.

    `testing` gives those of the test script.

    Raises:
        UserError: a combination that cannot run.
    """
    flags = Flags(f"{'Test' if testing else 'Train'} MS-ResNet18 with gated attention coding on CIFAR (AAAI 2024).")
    option = flags.option
    option("-b", "--batch_size", type=int, default=32 if testing else 64, help="of all processes together")
    option("-T", "--time", dest="T", type=int, default=6, minimum=1, help="time steps")
    option("-j", "--workers", type=int, default=16, help="loader processes, at most one per core")
    option("--dataset", choices=cifar.STATISTICS, default="cifar100")
    option("--num-classes", type=int, minimum=1, help="outputs of the network, by default the classes of the data")
    option("--coding", choices=("gac", "direct", *ENCODERS), default="gac", help="how the image becomes a spike train")
    option("--kernel-size", type=int, default=4, help="of the gate's spatial convolutions")
    option("--width", type=int, default=64, help="channels of the stem")
    option("--download", action="store_true", help="fetch the data set if it is not there")
    flags.without_effect("--start_epoch")  # the original does not use it either
    if testing:
        option("--weights", type=Path, help="file to test or name in the store, by default ./<DATASET>_T=<T>.pth")
        flags.common("--epochs", "--resume", "--eval", "--amp")
        flags.set_defaults(eval=True)
    else:
        option("--lr", "--learning_rate", dest="lr", type=float, default=0.1)
        option("--beta", type=float, default=1.0, help="CutMix: of the Beta distribution; 0 mixes nothing")
        option("--cutmix_prob", type=float, default=0.5, help="CutMix: share of the epochs that are mixed")
        option("--augment", action=argparse.BooleanOptionalAction, default=True, help="random crops and mirroring")
        flags.common()
    flags.set_defaults(seed=1000, epochs=250, deterministic=True, own_name=None)
    args = flags.parse(arguments, TINY)
    if testing and not args.weights:
        args.weights = Path(file_name(args) + ".pth")
    args.weights = weights_to_test(args)
    return args


def file_name(args: argparse.Namespace) -> str:
    """First part of the names of the result files, as in the authors' `CIFAR100_T=6.pth`."""
    return f"{args.own_name or args.dataset.upper()}_T={args.T}"
