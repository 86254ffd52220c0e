"""Layers that several papers share, and the exact shortcuts of whole networks: stem once, attention order, folding."""

from copy import deepcopy

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from common.kernels import kept, spike_conv, spikes
from common.kernels.operators import traced


class _SkipsZeros:
    """What `SpikeConv2d`, `SpikeConv1d` and `SpikeLinear` have in common."""

    packed: Tensor | None = None

    def freeze(self) -> None:
        """Pack the weight, which must not change any more, once for all; `fold_for_inference` calls this."""
        if self._plain() and spikes.serves(self.weight.dtype):
            self.packed = spikes.pack(self._planes(self.weight), self.stride[-1], self.padding[-1])

    def _plain(self) -> bool:
        """Whether the kernels know such convolutions."""
        uniform = len({*self.stride}) == len({*self.padding}) == 1 and not isinstance(self.padding, str)
        return uniform and self.groups == 1 and {*self.dilation} == {1} and self.padding_mode == "zeros"


class SpikeConv2d(_SkipsZeros, nn.Conv2d):
    """`nn.Conv2d` that skips the zeros of its input where that pays, equal up to rounding: `kernels.spike_conv`."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.ndim != 4 or not self._plain():
            return super()._conv_forward(x, weight, bias)
        return spike_conv.conv2d(x, weight, bias, self.stride[0], self.padding[0], self.packed)

    def _planes(self, x: Tensor) -> Tensor:
        return x


class SpikeConv1d(_SkipsZeros, nn.Conv1d):
    """`nn.Conv1d` that skips zeros as `SpikeConv2d` does, for kernels of one step."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.ndim != 3 or not self._plain():
            return super()._conv_forward(x, weight, bias)
        planes = self._planes(x), self._planes(weight)
        return spike_conv.conv2d(*planes, bias, self.stride[0], self.padding[0], self.packed).squeeze(2)

    def _plain(self) -> bool:
        return super()._plain() and (self.kernel_size, self.stride, self.padding) == ((1,), (1,), (0,))

    def _planes(self, x: Tensor) -> Tensor:
        """`[N, C, L]` as `[N, C, 1, L]`."""
        return x.unsqueeze(2)


class SpikeLinear(_SkipsZeros, nn.Linear):
    """`nn.Linear` that skips zeros as `SpikeConv2d` does."""

    stride, padding = (1,), (0,)  # of the convolution that it is

    def _plain(self) -> bool:
        return True

    def _planes(self, x: Tensor) -> Tensor:
        """`[O, C]` as `[O, C, 1, 1]`."""
        return x[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return spike_conv.linear(x, self.weight, self.bias, self.packed)


class SpikeMaxPool2d(nn.MaxPool2d):
    """`nn.MaxPool2d` with a square kernel that keeps less for its backward pass: `kernels.kept`."""

    def forward(self, x: Tensor) -> Tensor:
        return kept.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class TimeFolded(nn.Sequential):
    """Applies its children to `[T, B, ...]` as to one batch `[T*B, ...]`: T calls of a layer become one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class TimeConv2d(SpikeConv2d):
    """2-D convolution of each step of `[T, B, C, H, W]`, with time folded into the batch.

    The result has the precision of the weight: as in MS-ResNet, autocast makes only the products 16 bit, and the batch
    norm and the membrane potential that follow stay in float32. A step that is expanded over time is computed once.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.stride(0) == 0 and len(x) > 1 and not traced():
            return super().forward(x[0]).to(self.weight.dtype).expand(len(x), -1, -1, -1, -1)
        return super().forward(x.flatten(0, 1)).to(self.weight.dtype).unflatten(0, x.shape[:2])


class TimeBatchNorm(nn.Module):
    """Batch norm over time, batch and space, per channel, of `[T, B, C, H, W]`, with its weight starting at `weight`.

    MS-ResNet starts it at the threshold 0.5, and at 0 for the last one of a block; its parameters live under `bn`.
    """

    def __init__(self, channels: int, weight: float = 0.5):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        nn.init.constant_(self.bn.weight, weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class TimeSharedDropout(nn.Dropout):
    """Dropout of `[T, B, ...]` whose mask is drawn once per sample and kept for all T steps."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(torch.ones_like(x[0]), self.p)


def stem_of_static_image(stem: nn.Module, image: Tensor, T: int, *, once: bool = True) -> Tensor:
    """What `stem` makes of `T` copies of `image` `[B, C, H, W]`, computed once: `[1, B, C', H', W']`, to be expanded.

    Batch statistics of T copies equal those of one; only the running variance, unbiased by n/(n - 1), depends on the
    number of samples and is corrected from n to T n. The stem's batch norms must see maps of the size that it returns.
    With `once` false every copy is computed, `[T, B, C', H', W']`: the same numbers at T times the cost.
    """
    if not once:
        return stem(image.expand(T, *image.shape))
    norms = [m for m in stem.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    before = [norm.running_var.clone() for norm in norms]
    output = stem(image.unsqueeze(0))
    for norm, variance in zip(norms, before, strict=True):
        _count_copies(norm, variance, output.numel() // output.shape[2], T)
    return output


@torch.no_grad()
def _count_copies(norm: nn.modules.batchnorm._BatchNorm, before: Tensor, n: int, T: int) -> None:
    """Make the running variance, updated from `before` with `n` samples, that of an update with `T` copies of them."""
    if isinstance(norm, nn.SyncBatchNorm) and dist.is_initialized():
        n *= dist.get_world_size(norm.process_group)
    momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    kept = (1 - momentum) * before
    variance = norm.running_var.data  # autograd keeps the buffer without using it, and must not notice the change
    variance.sub_(kept).mul_(T * (n - 1) / (T * n - 1)).add_(kept)


def channels_last(model: nn.Module) -> nn.Module:
    """`model` itself, its 2-D convolutions now working in NHWC, which some processors do faster; the same numbers."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return model


def keys_meet_values_first(tokens: int, width: int, value_width: int) -> bool:
    """Whether q (k^T v) takes fewer products than (q k^T) v, with q and k `[tokens, width]`, v `[tokens, e]`."""
    return 2 * width * value_width <= tokens * (width + value_width)


def spiking_attention(q: Tensor, k: Tensor, v: Tensor, scale: float = 1.0) -> Tensor:
    """Attention without softmax, scale * q k^T v, of spikes `[..., N, d]` (v and the result: `[..., N, e]`).

    Runs in the cheaper order. Sums of spikes are integers, so both give the same numbers while the inner sums, at most
    max(N, d), fit the mantissa (2^24 in float32, 2^8 in bfloat16) and `scale` is a power of two.
    """
    with kept.spikes_as_bits():
        if keys_meet_values_first(*q.shape[-2:], v.shape[-1]):
            return q @ (k.transpose(-2, -1) @ v) * scale
        return (q @ k.transpose(-2, -1)) @ v * scale


class SpikingAttention(nn.Module):
    """`spiking_attention` as a module, so that hooks see its operands."""

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale = scale

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return spiking_attention(q, k, v, self.scale)

    def extra_repr(self) -> str:
        return f"scale={self.scale:g}"


FOLDABLE = {nn.BatchNorm1d: (nn.Conv1d, nn.Linear), nn.BatchNorm2d: (nn.Conv2d,), nn.BatchNorm3d: (nn.Conv3d,)}
"""The layers that a batch norm of each kind can be folded into."""


@torch.no_grad()
def fold_for_inference(model: nn.Module) -> nn.Module:
    """A copy of `model` in evaluation mode, each batch norm merged into the layer that feeds it; same output.

    BN(W x + b) = (g W) x + (g (b - mean) + beta) with g = gamma / sqrt(var + eps). In the networks here a batch norm
    is registered right after the layer that feeds it, which is how the pairs are found. A module with a method
    `folded()`, such as a re-parameterised convolution, is replaced by what that returns first; one with `freeze()` may
    keep what it computes from its weights.
    """
    model = deepcopy(model).eval()
    _replace(model, {module: module.folded() for module in model.modules() if hasattr(module, "folded")})
    merged, feeder = {}, None
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and _feeds(feeder, module):
            fuse = fuse_linear_bn_weights if isinstance(feeder, nn.Linear) else fuse_conv_bn_weights
            statistics = (module.running_mean, module.running_var, module.eps, module.weight, module.bias)
            feeder.weight, feeder.bias = fuse(feeder.weight, feeder.bias, *statistics)
            merged[module] = nn.Identity()
        elif not any(module.children()):
            feeder = module
    _replace(model, merged)
    for module in model.modules():
        if hasattr(module, "freeze"):
            module.freeze()
    return model


def _feeds(layer: nn.Module | None, norm: nn.modules.batchnorm._BatchNorm) -> bool:
    kinds = next((layers for kind, layers in FOLDABLE.items() if isinstance(norm, kind)), ())
    return isinstance(layer, kinds) and layer.weight.shape[0] == norm.num_features and norm.track_running_stats


def _replace(model: nn.Module, substitutes: dict[nn.Module, nn.Module]) -> None:
    """Put each substitute wherever its module stands, under all of its names."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child in substitutes:
                setattr(parent, name, substitutes[child])
