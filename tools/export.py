"""A network as a file that runs without its Python code, or as a folder for the Hugging Face hub and timm.

    python tools/export.py spikingformer_8_512 --weights best.safetensors --output best.pt2
    python tools/export.py sdt_v3_5m --input-shape 1 3 384 384
    python tools/export.py sma_vgg8_cifar10dvs --weights best.pth --format onnx
    python tools/export.py ma_snn_dvsgestures --format nir --output gestures.nir
    python tools/export.py sdt_v3_5m --weights best.pt --format hub --output my-network

export  every classifier; the number of samples is left open. What is read back from the file must
        give exactly the network's output on random inputs. The neurons stay operators of this repository:

            import torch, common.kernels
            model = torch.export.load("best.pt2").module()

        With SNN_BACKEND=torch before the command they become plain operations, one after another for each time step,
        and the file loads where this repository is not installed.
onnx    the same networks, for ONNX Runtime and what else reads ONNX; neurons are plain operations, the number of
        samples is left open. ONNX Runtime must give the network's output to 1e-5, see tools/onnx_graphs.py. Needs the
        extra `onnx`: pip install "spiking-papers[onnx]".
nir     networks of convolutions, LIF neurons and pools: ma_snn_* without attention and with LIF, ms_resnet*, and
        sma_vgg8_* with --kwargs attention=False. Needs the extra `nir`: pip install "spiking-papers[nir]". How neurons
        are written, and how a graph runs here, is told in tools/nir_graphs, whose `load_nir` reads the file back.
hub     a folder with model.safetensors, config.json and README.md, of any network. Where this repository is installed:

            import timm, sdt_v3  # the paper registers its networks
            model = timm.create_model("local-dir:my-network", pretrained=True)  # or "hf-hub:OWNER/NAME" once uploaded
"""

import argparse
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn

from common.errors import UserError
from common.kernels import use
from common.training import run
from common.weights import card_facts, locate
from tools.hub import write_folder
from tools.networks import trained
from tools.papers import why_not_exported
from tools.programs import export_program, save_program

SUFFIXES = {"export": ".pt2", "onnx": ".onnx", "nir": ".nir", "hub": ""}


def main(arguments: list[str] | None = None) -> None:
    """Export as the command line says."""
    options = parse(arguments)
    torch.manual_seed(options.seed)
    model = trained(options.model, options.kwargs, options.weights)
    path = Path(options.output or f"{options.model}{SUFFIXES[options.format]}")
    if options.format == "hub":
        card = card_facts(locate(options.weights)) if options.weights else {}
        print(f"{path}: {write_folder(model, card, path)}")
        return
    if reason := why_not_exported(options.model, model):
        raise UserError(f"{options.model} cannot be exported: {reason}")
    write = {"export": write_program, "onnx": write_onnx, "nir": write_nir}[options.format]
    print(f"{path}: {write(model, options.input_shape or model.layout.shape(), path)}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name that timm.create_model takes")
    parser.add_argument("--kwargs", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the network")
    parser.add_argument("--weights", help="a file of weights, or a name in the store; random ones without")
    parser.add_argument("--seed", type=int, default=0, help="of random weights (%(default)s)")
    parser.add_argument("--format", choices=SUFFIXES, default="export", help="see above (%(default)s)")
    parser.add_argument("--input-shape", type=int, nargs="+", help="of a batch (as the network usually takes it)")
    parser.add_argument("--output", help="the file (MODEL.pt2, MODEL.onnx or MODEL.nir) or the folder (MODEL)")
    return parser.parse_args(arguments)


def example(model: nn.Module, shape: Sequence[int], samples: int) -> Tensor:
    """Random input of `shape`, but of so many samples.

    Raises:
        UserError: a shape without that axis, or with a side below 1.
    """
    axis = model.layout.batch_axis
    if len(shape) <= axis or min(shape) < 1:
        raise UserError(f"--input-shape {' '.join(map(str, shape))} is no batch of images or frames; see --help")
    return torch.rand(*shape[:axis], samples, *shape[axis + 1 :])


def write_program(model: nn.Module, shape: Sequence[int], path: Path) -> str:
    """Write a program and say what it takes."""
    axis = model.layout.batch_axis
    program = export_program(model, example(model, shape, 2), axis)
    save_program(program, path, model, *(example(model, shape, samples) for samples in (1, 2, 3)))
    return f"takes {open_shape(shape, axis)}, equal to the network on random inputs"


def open_shape(shape: Sequence[int], axis: int) -> str:
    """The shape in words, its `axis` left open."""
    return f"[{', '.join('any' if number == axis else str(side) for number, side in enumerate(shape))}]"


def write_onnx(model: nn.Module, shape: Sequence[int], path: Path) -> str:
    """Write an ONNX graph and say what it takes, and how it was checked.

    Raises:
        UserError: the extra is not installed, or see `tools.onnx_graphs.save_onnx`.
    """
    try:
        from tools.onnx_graphs import save_onnx
    except ImportError as error:
        raise UserError(f'ONNX is not installed ({error}); run: pip install "spiking-papers[onnx]"') from error
    axis = model.layout.batch_axis
    with use("torch"):  # neurons as plain operations
        program = export_program(model, example(model, shape, 2), axis)
    said = save_onnx(program, path, model, (example(model, shape, 1) for _ in count()))
    return f"takes {open_shape(shape, axis)}, {said}"


def write_nir(model: nn.Module, shape: Sequence[int], path: Path) -> str:
    """Write an NIR graph and say how large it is.

    Raises:
        UserError: the extra is not installed, or see `tools.nir_graphs.to_nir`.
    """
    try:
        from tools.nir_graphs import load_nir, save_nir
    except ImportError as error:
        raise UserError(f'NIR is not installed ({error}); run: pip install "spiking-papers[nir]"') from error
    save_nir(model, example(model, shape, 1), path)
    return f"{len(load_nir(path)._modules)} nodes, one time step"


if __name__ == "__main__":
    run(main)
