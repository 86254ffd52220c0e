"""The compiled neurons as PyTorch operators, so that autograd, torch.compile and torch.export know them.

`spiking_papers::neuron` saves its input and nothing else; `spiking_papers::neuron_backward` recomputes the rest and has
no gradient of its own, so second-order gradients need the "torch" backend.
"""

import torch
from torch import Tensor

from common.kernels import cpu, cuda


@torch.library.custom_op("spiking_papers::neuron", mutates_args=(), device_types="cpu")
def neuron(x: Tensor, forward: int, backward: int, constants: list[float], time_dim: int | None) -> Tensor:
    """Output of the neuron that `common.kernels.encoding` wrote as two codes and constants; shape of `x`."""
    return cpu.forward(x, forward, constants, time_dim)


@torch.library.custom_op("spiking_papers::neuron_backward", mutates_args=(), device_types="cpu")
def neuron_backward(
    gradient: Tensor, x: Tensor, forward: int, backward: int, constants: list[float], time_dim: int | None
) -> Tensor:
    """Gradient at `x` of the same neuron from the `gradient` at its output."""
    return cpu.backward(gradient, x, (forward, backward), constants, time_dim)


@neuron.register_kernel("cuda")
def _(x, forward, backward, constants, time_dim):
    return cuda.forward(x, forward, constants, time_dim)


@neuron_backward.register_kernel("cuda")
def _(gradient, x, forward, backward, constants, time_dim):
    return cuda.backward(gradient, x, (forward, backward), constants, time_dim)


@neuron.register_fake
def _(x, forward, backward, constants, time_dim):
    return torch.empty_like(x)


@neuron_backward.register_fake
def _(gradient, x, forward, backward, constants, time_dim):
    return torch.empty_like(x)


def _save(ctx, inputs, output) -> None:
    x, *ctx.variant = inputs
    ctx.save_for_backward(x)


def _gradients(ctx, gradient: Tensor):
    (x,) = ctx.saved_tensors
    return neuron_backward(gradient, x, *ctx.variant), None, None, None, None


neuron.register_autograd(_gradients, setup_context=_save)
