"""The input of a neuron, computed again from what the batch norm before it keeps anyway, instead of being kept too.

Batch norm keeps its input u, the mean m and the inverse standard deviation r of each channel, and its weight g, for its
own backward pass; its output is x = (r g) u + (b - (r g) m). That is one pass over memory and, with fused multiply-adds
as in PyTorch's own kernel, equal bit for bit. Half of what a training step keeps is then gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

from common.kernels import memory

_VIEWS = {"ExpandBackward0", "ReshapeAliasBackward0", "UnsafeViewBackward0", "UnsqueezeBackward0", "ViewBackward0"}

inputs_are_kept: ContextVar[bool] = ContextVar("inputs_are_kept", default=False)


@contextmanager
def keeping_inputs() -> Iterator[None]:
    """Within a `with` block neurons keep their inputs: what batch norms keep may be read only once there."""
    token = inputs_are_kept.set(True)
    try:
        yield
    finally:
        inputs_are_kept.reset(token)


@dataclass(frozen=True)
class NormOutput:
    """The output of a batch norm that is being trained, perhaps in another shape."""

    norm: Node
    weight: Tensor
    bias: Tensor
    shape: torch.Size

    def again(self, bias: Tensor) -> Tensor:
        """The output, with the `bias` `[C]` that autograd has kept unchanged."""
        u, m, r, g = (getattr(self.norm, f"_saved_{name}") for name in ("input", "result1", "result2", "weight"))
        slope = r * g
        offset = (bias.double() - m.double() * slope.double()).float()
        channels = (-1, *[1] * (u.ndim - 2))
        with torch.no_grad():
            return torch.addcmul(offset.view(channels), u, slope.view(channels)).reshape(self.shape)


def norm_output(x: Tensor) -> NormOutput | None:
    """How to compute `x` again, if it is a float32 output of `nn.BatchNorm` on the CPU or a view of one."""
    node = None if x.nbytes < memory.SMALL or inputs_are_kept.get() else x.grad_fn
    while node is not None and node.name() in _VIEWS:
        node = node.next_functions[0][0]
    if node is None or node.name() != "NativeBatchNormBackward0" or x.dtype != torch.float32 or x.is_cuda:
        return None
    weight, bias = (getattr(function, "variable", None) for function, _ in node.next_functions[1:3])
    if not node._saved_training or weight is None or bias is None or node._saved_input.numel() != x.numel():
        return None
    return NormOutput(node, weight, bias, x.shape)
