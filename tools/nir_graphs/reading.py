"""From an NIR graph to a network of this repository's layers."""

from collections.abc import Callable
from pathlib import Path

import nir
import nirtorch
import numpy as np
import torch
from torch import Tensor, fx, nn

from common.errors import UserError
from common.kernels import LIFParameters, multi_step_lif
from common.layers import TimeFolded
from tools.nir_graphs.writing import DT, pair


def load_nir(path: str | Path) -> fx.GraphModule:
    """The network in an NIR file, computed by the neurons of this repository.

    Called with `[T, B, C, H, W]`, all frames at once, it returns (output `[T, B, ...]`, nirtorch's state, unused).

    Raises:
        UserError: the file is missing or no NIR graph, or a node is nothing that `to_nir` writes.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}; write one with tools/export.py --format nir")
    try:
        return nirtorch.nir_to_torch(nir.read(path), MODULES, {})
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as an NIR graph ({error})") from error


class _Neurons(nn.Module):
    """LIF neurons without state between calls, `[T, B, ...]`."""

    def __init__(self, parameters: LIFParameters):
        super().__init__()
        self.constants = parameters

    def forward(self, x: Tensor) -> Tensor:
        return multi_step_lif(x, self.constants, time_dim=0)


class _Scale(nn.Module):
    """x * scale of each step `[C, H, W]`."""

    def __init__(self, node: nir.Scale):
        super().__init__()
        self.register_buffer("scale", torch.from_numpy(node.scale))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _Threshold(nn.Module):
    """1 where x of a step `[C, H, W]` is above the threshold."""

    def __init__(self, node: nir.Threshold):
        super().__init__()
        self.register_buffer("threshold", torch.from_numpy(node.threshold))

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.threshold).to(x.dtype)


def _convolution(node: nir.Conv2d) -> TimeFolded:
    sizes = {name: pair(getattr(node, name)) for name in ("stride", "padding", "dilation")}
    out_chans, in_chans, *kernel = node.weight.shape
    layer = nn.Conv2d(in_chans * int(node.groups), out_chans, tuple(kernel), groups=int(node.groups), **sizes)
    return TimeFolded(_filled(layer, node))


def _affine(node: nir.Affine) -> nn.Linear:
    return _filled(nn.Linear(*reversed(node.weight.shape)), node)


@torch.no_grad()
def _filled(layer: nn.Module, node: nir.NIRNode) -> nn.Module:
    layer.weight.copy_(torch.from_numpy(node.weight))
    layer.bias.copy_(torch.from_numpy(node.bias))
    return layer


def _pool(node: nir.AvgPool2d | nir.SumPool2d) -> TimeFolded:
    kernel, stride, padding = (pair(size) for size in (node.kernel_size, node.stride, node.padding))
    return TimeFolded(
        nn.AvgPool2d(kernel, stride, padding, divisor_override=1 if isinstance(node, nir.SumPool2d) else None)
    )


def _neurons(node: nir.LIF) -> _Neurons:
    """The neurons that became `node`, or others that one step of forward Euler makes of it."""
    values = {name: np.unique(getattr(node, name)) for name in ("tau", "r", "v_leak", "v_threshold", "v_reset")}
    if any(len(value) > 1 for value in values.values()):
        raise ValueError("the neurons of a layer differ from each other")
    tau, r, v_leak, level, v_reset = (value.item() for value in values.values())
    strict = ">=" not in str(node.metadata.get("fires"))
    threshold = level if strict else np.nextafter(np.float32(level), np.float32(np.inf)).item()
    if v_leak or v_reset not in (0, threshold) or not (r == 1 or np.isclose(r * DT, tau)):
        raise ValueError(f"no neuron here has tau={tau:g}, r={r:g}, v_leak={v_leak:g}, v_reset={v_reset:g}")
    charge = {"charge": "leaky", "tau": tau / DT} if r == 1 else {"charge": "decay", "decay": 1 - DT / tau}
    reset = "threshold" if v_reset else "hard"
    return _Neurons(LIFParameters(**charge, threshold=threshold, strict=strict, reset=reset))


MODULES: dict[type[nir.NIRNode], Callable[[nir.NIRNode], nn.Module]] = {
    nir.Input: lambda node: nn.Identity(),
    nir.Output: lambda node: nn.Identity(),
    nir.Conv2d: _convolution,
    nir.Affine: _affine,
    nir.AvgPool2d: _pool,
    nir.SumPool2d: _pool,
    nir.Flatten: lambda node: nn.Flatten(2 + int(node.start_dim)),
    nir.Scale: _Scale,
    nir.Threshold: _Threshold,
    nir.LIF: _neurons,
}
"""What computes each NIR node of a graph for `[T, B, ...]`."""
