"""The layers of the event networks: a linear map, batch norm, attention on the current, and LIF or LIAF neurons."""

from collections import OrderedDict

from torch import Tensor, nn

from common.layers import SpikeConv2d


class ConvAttLIF(nn.Module):
    """neuron(attention(pool(BN(conv3x3(x))))): `[B, T, in_chans, H, W]` to `[B, T, channels, H/pool, W/pool]`.

    Batch norm takes batch and time together; `attention` None is none.
    """

    def __init__(self, in_chans: int, channels: int, pool: int, attention: nn.Module | None, neuron: nn.Module):
        super().__init__()
        self.conv2d = SpikeConv2d(in_chans, channels, 3, padding=1)
        self.BNLayer = nn.BatchNorm2d(channels)
        self.pool = nn.AvgPool2d(pool) if pool > 1 else nn.Identity()
        self.attention = attention or nn.Identity()
        self.network = nn.Sequential(OrderedDict(ConvIF=neuron))

    def forward(self, x: Tensor) -> Tensor:
        current = self.pool(self.BNLayer(self.conv2d(x.flatten(0, 1)))).unflatten(0, x.shape[:2])
        return self.network(self.attention(current))


class AttLIF(nn.Module):
    """neuron(attention(BN(linear(x)))): `[B, T, in_features]` to `[B, T, features]`."""

    def __init__(self, in_features: int, features: int, attention: nn.Module | None, neuron: nn.Module):
        super().__init__()
        self.linear = nn.Linear(in_features, features)
        self.BNLayer = nn.BatchNorm1d(features)
        self.attention = attention or nn.Identity()
        self.network = nn.Sequential(OrderedDict(IF=neuron))

    def forward(self, x: Tensor) -> Tensor:
        current = self.BNLayer(self.linear(x.flatten(0, 1))).unflatten(0, x.shape[:2])
        return self.network(self.attention(current))
