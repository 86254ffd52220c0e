"""Operations, firing rates and energy of one inference, layer by layer, for any network of this repository.

    python tools/energy.py spikingformer_8_512 --input-shape 1 4 3 224 224 --weights checkpoint.pth.tar
    python tools/energy.py sma_vgg8_dvs128 --random events

Writes <MODEL>.csv and <MODEL>.png (or --format pdf, svg) to --output-dir. Rates mean little without --weights and
--input, the trained network and real data. Frames [B, T, C, H, W] make Spikingformer count its first convolution at
each step, as its authors do; an image [B, C, H, W] counts it once, as it is computed here.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from common.analysis.energy import Formula, with_heads
from common.analysis.energy_report import energy_report
from common.analysis.figures import FORMATS
from common.analysis.operations import count_operations
from common.errors import UserError, nearest
from common.training import run
from tools.networks import trained
from tools.papers import card_of, formulas
from tools.text import aligned


def main(arguments: list[str] | None = None) -> None:
    """Count as the command line says."""
    report(parse(arguments))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    known = {name: f"{', '.join(formula.kinds)}; {formula.source}" for name, formula in formulas().items()}
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="\n".join(["What each formula counts, and who says so:", *aligned(known)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="name that timm.create_model takes")
    parser.add_argument("--kwargs", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the network")
    parser.add_argument("--weights", help="weights of the trained network: a file, or a name in the store")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--input-shape", type=int, nargs="+", help="of a random input, default: the network's usual one")
    given.add_argument("--input", help=".npy file with a batch of real input")
    parser.add_argument("--random", choices=("image", "events"), default="image", help="normal or Poisson(0.3) numbers")
    parser.add_argument("--seed", type=int, default=0, help="of the random input and of random weights")
    parser.add_argument("--batch-dim", type=int, help="axis that counts the samples, default: the network's")
    parser.add_argument("--formula", choices=known, help="default: that of the network's paper")
    parser.add_argument("--mac-pj", type=float, help="energy of a multiply-accumulate, default 4.6")
    parser.add_argument("--ac-pj", type=float, help="energy of an addition, default 0.9")
    parser.add_argument("--attention-heads", type=int, help="count attention as if divided into this many heads")
    parser.add_argument("--output-dir", default="energy", help="folder of the table and the figure")
    parser.add_argument("--format", choices=FORMATS, default="png", help="of the figure (%(default)s)")
    return parser.parse_args(arguments)


def report(options: argparse.Namespace) -> None:
    """Build the network, count, print the totals and write both files."""
    torch.manual_seed(options.seed)
    model = trained(options.model, options.kwargs, options.weights)
    shape = options.input_shape or model.layout.shape()
    x = read_input(options.input) if options.input else random_input(shape, options.random)
    axis = model.layout.batch_axis if options.batch_dim is None else options.batch_dim
    try:
        layers = count_operations(model, [x], axis)
    except (ValueError, RuntimeError, IndexError) as error:
        raise UserError(f"{options.model} refuses an input of shape {list(x.shape)}: {error}") from error
    if options.attention_heads:
        layers = with_heads(layers, options.attention_heads)
    name = options.formula or (card.name if (card := card_of(options.model)).energy else "spikingformer")
    formula = chosen(name, options.mac_pj, options.ac_pj)
    print(f"{options.model}, input {list(x.shape)}, formula {name}: {formula}")
    energy_report(layers, formula, options.output_dir, options.model, options.format)
    if not options.input:
        print("warning: random input, so the firing rates are not those of real data; give some by --input")


def chosen(name: str, mac_pj: float | None = None, ac_pj: float | None = None) -> Formula:
    """The formula called `name`, with other energies per operation if given.

    Raises:
        UserError: the name is unknown.
    """
    if name not in formulas():
        raise UserError(
            f"unknown energy formula {name!r}: {nearest(name, formulas())}there are {', '.join(formulas())}"
        )
    given = {"mac_pj": mac_pj, "ac_pj": ac_pj}
    return replace(formulas()[name], **{key: value for key, value in given.items() if value is not None})


def read_input(path: str) -> Tensor:
    """The array in a .npy file as float32."""
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False)).float()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot read an array ({error}); save one with numpy.save") from error


def random_input(shape: Sequence[int], kind: str) -> Tensor:
    """Standard normal numbers, or event counts."""
    return torch.randn(*shape) if kind == "image" else torch.poisson(torch.full(tuple(shape), 0.3))


if __name__ == "__main__":
    run(main)
