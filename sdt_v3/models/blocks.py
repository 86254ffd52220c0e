"""Parts of E-SpikeFormer (SDT V3, section 4): every convolution, linear layer and attention product is fed by a neuron.

Shortcuts add membrane values, not spikes: x + linear(neuron(x)). Time steps are folded into the batch axis B.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from common.layers import SpikeConv1d, SpikeConv2d, SpikingAttention

Neuron = Callable[[], nn.Module]
"""Makes one neuron."""


def layer_scale(dim: int, wanted: bool) -> nn.Parameter | None:
    """Factor per channel of a residual branch, starting at 1e-6, or None."""
    return nn.Parameter(torch.full((dim,), 1e-6)) if wanted else None


def scaled(branch: Tensor, scale: nn.Parameter | None) -> Tensor:
    """`branch` `[B, C, ...]` times `scale` `[C]`, or as it is."""
    return branch if scale is None else branch * scale.view(-1, *[1] * (branch.ndim - 2))


def visible_batch_norm(bn: nn.BatchNorm2d, x: Tensor, visible: Tensor | None) -> Tensor:
    """Batch norm of `x` `[B, C, H, W]` over the visible places only, 0 elsewhere; `visible` None means everywhere.

    `visible` `[B, h, w]` is bool and each entry stands for H/h x W/w places. As hidden places come out as 0 whatever
    they held, a convolution in front of this needs no mask of its own to be sparse.
    """
    if visible is None:
        return bn(x)
    places = expand_mask(visible, x.shape[-1])
    seen = bn(x.movedim(1, -1)[places][:, :, None, None])[:, :, 0, 0]
    output = seen.new_zeros(*places.shape, x.shape[1])
    output[places] = seen
    return output.movedim(-1, 1)


def expand_mask(visible: Tensor, width: int) -> Tensor:
    """Mask `[B, h, w]` repeated to `[B, H, W]` of that width."""
    factor = width // visible.shape[-1]
    return visible.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


class Downsample(nn.Module):
    """BN(conv(N(x))): `[B, in_chans, H, W]` to `[B, channels, H/stride, W/stride]`; the image meets no neuron."""

    def __init__(self, in_chans: int, channels: int, kernel_size: int, stride: int, neuron: Neuron = nn.Identity):
        super().__init__()
        self.encode_conv = SpikeConv2d(in_chans, channels, kernel_size, stride, padding=kernel_size // 2)
        self.encode_bn = nn.BatchNorm2d(channels)
        self.encode_spike = neuron()

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        return visible_batch_norm(self.encode_bn, self.encode_conv(self.encode_spike(x)), visible)


class SepConv(nn.Module):
    """Spiking separable convolution of `[B, C, H, W]`: 1x1 to 2C, depthwise k x k, 1x1 to C, a neuron before each."""

    def __init__(self, dim: int, kernel_size: int, neuron: Neuron):
        super().__init__()
        wide = 2 * dim
        depthwise = nn.Conv2d(wide, wide, kernel_size, padding=kernel_size // 2, groups=wide, bias=False)
        self.spike1, self.spike2, self.spike3 = neuron(), neuron(), neuron()
        self.pwconv1 = conv1x1(dim, wide)
        self.dwconv = nn.Sequential(depthwise, nn.BatchNorm2d(wide))
        self.pwconv2 = conv1x1(wide, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pwconv1(self.spike1(x))
        return self.pwconv2(self.spike3(self.dwconv(self.spike2(x))))


class ConvBlock(nn.Module):
    """x + SepConv7(x), then x + BN(conv3x3(N(BN(conv3x3(N(x)))))) through 4C channels; `[B, C, H, W]`."""

    def __init__(self, dim: int, neuron: Neuron):
        super().__init__()
        self.Conv = SepConv(dim, 7, neuron)
        self.spike1, self.spike2 = neuron(), neuron()
        self.conv1 = SpikeConv2d(dim, 4 * dim, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4 * dim)
        self.conv2 = SpikeConv2d(4 * dim, dim, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.Conv(x)
        hidden = self.bn1(self.conv1(self.spike1(x)))
        return x + self.bn2(self.conv2(self.spike2(hidden)))


class Attention(nn.Module):
    """proj(N(scale (q k^T) v)) with q, k, v = N(projection(N(x))), of `[B, C, ...]` tokens in any number of axes.

    There is no softmax. Head i owns the i-th of `heads` equal runs of channels.

    Args:
        projection: makes the linear map with its BN from (channels in, channels out).
        value_ratio: v is this many times as wide as q and k.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        neuron: Neuron,
        projection: Callable[[int, int], nn.Module],
        scale: float,
        value_ratio: int = 1,
    ):
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} attention heads cannot share {dim} channels equally")
        self.head_spike, self.attn_spike = neuron(), neuron()
        self.q_spike, self.k_spike, self.v_spike = neuron(), neuron(), neuron()
        self.q_conv = projection(dim, dim)
        self.k_conv = projection(dim, dim)
        self.v_conv = projection(dim, value_ratio * dim)
        self.proj_conv = projection(value_ratio * dim, dim)
        self.heads, self.product = heads, SpikingAttention(scale)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.head_spike(x)
        q = self.split(self.q_spike(self.q_conv(spikes)))
        k = self.split(self.k_spike(self.k_conv(spikes)))
        v = self.split(self.v_spike(self.v_conv(spikes)))
        attended = self.product(q, k, v).mT.flatten(1, 2).unflatten(2, x.shape[2:])
        return self.proj_conv(self.attn_spike(attended))

    def split(self, x: Tensor) -> Tensor:
        """`[B, C, ...]` to the tokens of each head, `[B, heads, N, C / heads]`."""
        return x.flatten(2).unflatten(1, (self.heads, -1)).mT


class MLP(nn.Module):
    """BN(W2 N(BN(W1 N(x)))) through 4C channels, of `[B, C, ...]` tokens in any number of axes."""

    def __init__(self, dim: int, neuron: Neuron):
        super().__init__()
        self.fc1_spike, self.fc2_spike = neuron(), neuron()
        self.fc1_conv, self.fc1_bn = SpikeConv1d(dim, 4 * dim, 1), nn.BatchNorm1d(4 * dim)
        self.fc2_conv, self.fc2_bn = SpikeConv1d(4 * dim, dim, 1), nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1_bn(self.fc1_conv(self.fc1_spike(x.flatten(2))))
        return self.fc2_bn(self.fc2_conv(self.fc2_spike(hidden))).unflatten(2, x.shape[2:])


class Block(nn.Module):
    """Transformer block of the base and DVS networks, `[B, C, H, W]`: x += SepConv3(x); x += attn(x); x += mlp(x).

    The attention's scale is 2 / sqrt(C / heads) and its values are 4C wide.
    """

    def __init__(self, dim: int, heads: int, neuron: Neuron, with_layer_scale: bool = False):
        super().__init__()
        self.layer_scale1 = layer_scale(dim, with_layer_scale)
        self.layer_scale2 = layer_scale(dim, with_layer_scale)
        self.layer_scale3 = layer_scale(dim, with_layer_scale)
        self.conv = SepConv(dim, 3, neuron)
        self.attn = Attention(dim, heads, neuron, conv1x1, scale=2 * (dim // heads) ** -0.5, value_ratio=4)
        self.mlp = MLP(dim, neuron)

    def forward(self, x: Tensor) -> Tensor:
        x = x + scaled(self.conv(x), self.layer_scale1)
        x = x + scaled(self.attn(x), self.layer_scale2)
        return x + scaled(self.mlp(x), self.layer_scale3)


def conv1x1(in_chans: int, channels: int) -> nn.Sequential:
    """1x1 convolution without bias, then BN, of `[B, in_chans, H, W]`."""
    return nn.Sequential(SpikeConv2d(in_chans, channels, 1, bias=False), nn.BatchNorm2d(channels))
