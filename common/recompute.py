"""Gradient checkpointing: a block keeps its input alone and is computed again in the backward pass, bit for bit.

Neurons hold no state between calls, so nothing has to be put back for them; random numbers are drawn again from the
same state by torch, and batch norms are kept from counting the second pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from common.kernels.recomputed import keeping_inputs


class Blocks(nn.Sequential):
    """Blocks in a row, `x` through all of them, each with the same further arguments.

    With `grad_checkpointing` each keeps its input alone in training.
    """

    grad_checkpointing = False

    def forward(self, x: Tensor, *more: object) -> Tensor:
        for block in self:
            again = self.grad_checkpointing and self.training and torch.is_grad_enabled()
            x = recomputed(block, x, *more) if again else block(x, *more)
        return x


class GradCheckpointing:
    """What a network inherits that has `Blocks` somewhere."""

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep less and compute more in training; the name is timm's."""
        for module in self.modules():
            if isinstance(module, Blocks):
                module.grad_checkpointing = enable


def recomputed(block: nn.Module, *inputs: object) -> Tensor:
    """`block(*inputs)`, of which only the inputs are kept for the backward pass."""

    def run(*inputs: object) -> Tensor:
        with keeping_inputs():
            return block(*inputs)

    if torch.compiler.is_compiling():  # the compiler copies the computation, not what it does to the batch norms
        return checkpoint(block, *inputs, use_reentrant=False)
    contexts = lambda: (nullcontext(), uncounted(block))  # noqa: E731
    return checkpoint(run, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def uncounted(block: nn.Module) -> Iterator[None]:
    """Let the batch norms of `block` work on copies of their running statistics."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    own = [dict(norm._buffers) for norm in norms]
    for norm, buffers in zip(norms, own, strict=True):
        norm._buffers.update({name: buffer.clone() for name, buffer in buffers.items() if buffer is not None})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, own, strict=True):
            norm._buffers.update(buffers)
