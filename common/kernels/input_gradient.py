"""The gradient at the input of a convolution, which is dense: three ways, the fastest for the shape at hand."""

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from common.kernels import spikes
from common.kernels.dispatch import convolution_wanted
from common.kernels.memory import output_pool

SLICE = 3 << 20
"""Bytes of an input or its gradient of more than two of them that PyTorch computes a gradient of at a time."""
FEW_PIXELS = 4
"""Output pixels of an image up to which the gradient is a product of matrices: dense ones want more of them."""
FEWEST_CHANNELS = 32
"""In and out, from which Winograd's way is the faster one."""
LARGEST_MARGIN = 1.2
"""Pixels of 2 x 2 tiles per pixel of the image up to which it is."""
AT_INPUT, AT_WEIGHT = 0, 1


def dense_gradient(place: int, gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient of PyTorch's convolution at one place, `AT_INPUT` or `AT_WEIGHT`."""
    wanted = [place == AT_INPUT, place == AT_WEIGHT, False]
    geometry = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, *geometry, wanted)[place]


def slices(x: Tensor) -> list[slice]:
    """The images of `x`, few of a large one: the memory of the last ones is used again, pages that are new are slow."""
    images = max(1, SLICE * len(x) // x.nbytes) if x.nbytes > 2 * SLICE else max(1, len(x))
    return [slice(first, first + images) for first in range(0, max(1, len(x)), images)]


def input_gradient(gradient: Tensor, shape: torch.Size, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient at an input of `shape` `[N, C, H, W]` of the contiguous `gradient` `[N, O, H', W']`."""
    if gradient.dtype == torch.float32 and gradient.shape[2:].numel() <= FEW_PIXELS:
        return _of_few_pixels(gradient, shape, weight, stride, padding)
    if _winograd_pays(gradient, weight, stride, padding):
        found = _winograd(gradient, shape, weight)
        if found is not None:
            return found
    x = gradient.new_empty(shape)  # only its shape is read; PyTorch would copy one that is not contiguous
    parts = slices(x)
    if len(parts) == 1:
        return dense_gradient(AT_INPUT, gradient, x, weight, stride, padding)
    gx = output_pool().empty(*shape) if x.dtype == torch.float32 else gradient.new_empty(shape)
    for part in parts:
        gx[part] = dense_gradient(AT_INPUT, gradient[part], x[part], weight, stride, padding)
    return gx


def _of_few_pixels(gradient: Tensor, shape: torch.Size, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient of what each output pixel sees of the input `[N L, C taps]`, added up by place."""
    seen = gradient.flatten(2).mT.flatten(0, 1) @ weight.flatten(1)
    return F.fold(seen.unflatten(0, (shape[0], -1)).mT, shape[2:], weight.shape[2:], 1, padding, stride)


def _winograd_pays(gradient: Tensor, weight: Tensor, stride: int, padding: int) -> bool:
    """Whether F(2 x 2, 3 x 3) is the fastest: not for few tiles, whose work is less than that of the weights."""
    if (*weight.shape[2:], stride, padding) != (3, 3, 1, 1) or gradient.dtype != torch.float32:
        return False
    N, _, H, W = gradient.shape
    tiles = -(-H // 2) * -(-W // 2)
    return convolution_wanted() == "spike" or (
        min(weight.shape[:2]) >= FEWEST_CHANNELS
        and 4 * tiles <= LARGEST_MARGIN * H * W
        and 4 * tiles * N >= max(weight.shape[:2])
    )


def _winograd(gradient: Tensor, shape: torch.Size, weight: Tensor) -> Tensor | None:
    """The gradient by `cpp/winograd.h`; None if a number is not finite."""
    gx, weight = output_pool().empty(*shape), weight.contiguous()
    place = spikes.shape_of(*shape, len(weight), 3, 3, 1, 1)
    failed = spikes.library(spikes.LIBRARY).input_gradient(
        gradient.data_ptr(), weight.data_ptr(), gx.data_ptr(), ctypes.addressof(place)
    )
    return None if failed else gx
