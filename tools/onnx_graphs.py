"""Programs of `torch.export` as ONNX graphs, which ONNX Runtime runs.

The neurons are plain operations, one after another for each time step. ONNX Runtime adds in another order than
PyTorch: where a potential lies within rounding of its threshold, a spike comes in one and not in the other, and the
output of that sample moves by more than rounding. A wrong graph differs in every sample, so the check looks for samples
that are equal to 1e-5 and says how many were not.
"""

import logging
from collections.abc import Iterable
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import onnxruntime
import onnxscript  # noqa: F401  (torch.onnx needs it, and says so late)
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from common.errors import UserError
from common.files import atomic_path
from common.kernels import use_convolution

TOLERANCE = 1e-5
"""Of an output."""
ENOUGH, TRIED = 4, 16
"""Samples that have to be equal, of how many at most."""


@torch.no_grad()
def save_onnx(program: ExportedProgram, path: Path, model: nn.Module, samples: Iterable[Tensor]) -> str:
    """Write `program` to `path` as ONNX, once ONNX Runtime gives the outputs of `model`; says how it was checked.

    Args:
        program: traced with the "torch" backend.
        path: by custom a .onnx file.
        model: what it is compared with.
        samples: inputs to compare on, as many as are asked for.

    Raises:
        UserError: another output, a network that ONNX has no operators for, or a folder that cannot be written.
    """
    name = type(model).__name__
    distinct_clamps(program)
    with quiet():
        try:
            graph = torch.onnx.export(program, dynamo=True, verbose=False)
        except torch.onnx.errors.OnnxExporterError as error:
            raise UserError(f"{name} cannot be written as ONNX: {str(error).strip().splitlines()[-1]}") from error
    differences: list[float] = []
    with atomic_path(path) as temporary:
        graph.save(temporary)
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        for x in islice(samples, TRIED):
            with use_convolution("dense"):  # as the graph convolves
                expected = model(x)
            (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
            differences.append(float((torch.from_numpy(found) - expected).abs().max()))
            equal = sum(difference <= TOLERANCE for difference in differences)
            if equal == ENOUGH:
                break
        else:
            raise UserError(
                f"{path} was not written: ONNX Runtime gives another output than {name} for {TRIED - equal} of {TRIED} "
                f"random samples, by up to {max(differences):.2g}"
            )
    said = f"equal to the network to {TOLERANCE:g} on {equal} random samples"
    if equal < len(differences):
        said += f"; in {len(differences) - equal} more a potential within rounding of its threshold moved the output"
    return said


def distinct_clamps(program: ExportedProgram) -> None:
    """Write clamps as hardtanh, which is the same: onnxscript gives two clamps of one tensor the same names."""
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.clamp.default and len(node.args) == 3 and None not in node.args:
            node.target = torch.ops.aten.hardtanh.default


@contextmanager
def quiet():
    """Without what the exporter logs of operators that no network here has."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
