"""Networks as programs of `torch.export`, which need no Python code of their models to run.

The neurons stay operators of this repository, `spiking_papers::neuron`: import `common.kernels` before loading such a
program. Traced with the "torch" backend (`common.kernels.use` or SNN_BACKEND=torch) they become plain ATen operations
instead, one per step, and the program stands alone.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from common.errors import UserError
from common.files import atomic_path
from common.kernels import use_convolution  # registers the neurons' operators too


@torch.no_grad()
def export_program(model: nn.Module, x: Tensor, batch_dim: int | None = 0) -> ExportedProgram:
    """The program that `model` runs in evaluation mode on inputs like `x`.

    Args:
        model: any network of this repository; left in evaluation mode.
        x: an example, a batch of at least 2 samples if `batch_dim` is given.
        batch_dim: axis of `x` whose length is left open; None fixes all.

    Raises:
        UserError: the network refuses `x`, or what it does depends on the values in it.
    """
    shapes = None if batch_dim is None else ({batch_dim: Dim("batch")},)
    try:
        return torch.export.export(model.eval(), (x,), dynamic_shapes=shapes)
    except (ValueError, RuntimeError, IndexError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"cannot trace {type(model).__name__} with an input of shape {list(x.shape)}: {reason}"
        ) from error


@torch.no_grad()
def save_program(program: ExportedProgram, path: str | Path, model: nn.Module, *inputs: Tensor) -> None:
    """Write `program` to `path`, by custom a .pt2 file, once what is read back gives exactly the outputs of `model`.

    Raises:
        UserError: it does not, or the folder cannot be written.
    """
    with atomic_path(path) as temporary, use_convolution("dense"):  # as a program convolves
        torch.export.save(program, temporary)
        read_back = torch.export.load(temporary).module()
        for x in inputs:
            if not torch.equal(read_back(x), model(x)):
                raise UserError(
                    f"{path} was not written: the program gives another output than {type(model).__name__} for an "
                    f"input of shape {list(x.shape)}; does the network draw random numbers in evaluation?"
                )
