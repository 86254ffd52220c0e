"""The compiled neurons as PyTorch operators, so that autograd, torch.compile and torch.export know them.

`spiking_papers::neuron` saves its input at most; `spiking_papers::neuron_backward` recomputes the rest and has
no gradient of its own, so second-order gradients need the "torch" backend. An eager call goes by `run_neuron` past the
operators, whose dispatch takes three times as long as a small neuron.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from common.kernels import cpu, cuda
from common.kernels.recomputed import norm_output


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


class _Neuron(torch.autograd.Function):
    """The same two kernels without the operators around them; the output of a batch norm is not even kept."""

    @staticmethod
    def forward(ctx, x: Tensor, *variant) -> Tensor:
        ctx.source = norm_output(x)
        ctx.save_for_backward(x if ctx.source is None else ctx.source.bias)
        ctx.variant = variant
        forward, _, constants, time_dim = variant
        if x.is_cuda:
            return cuda.forward(x, forward, constants, time_dim)
        return cpu.forward(x, forward, constants, time_dim, leave_bits=True)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        (kept,) = ctx.saved_tensors
        x = kept if ctx.source is None else ctx.source.again(kept)
        forward, backward, constants, time_dim = ctx.variant
        arguments = gradient, x, (forward, backward), constants, time_dim
        if x.is_cuda:
            return cuda.backward(*arguments), None, None, None, None
        return cpu.backward(*arguments, overwrite=ctx.source is not None), None, None, None, None


def traced() -> bool:
    """Whether a graph is made of what runs now."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def run_neuron(x: Tensor, forward: int, backward: int, constants: list[float], time_dim: int | None) -> Tensor:
    """`neuron`, as an operator only where a graph is traced or `x` is no plain tensor."""
    plain = not traced() and type(x) in (Tensor, nn.Parameter)
    return (_Neuron.apply if plain else neuron)(x, forward, backward, constants, time_dim)
