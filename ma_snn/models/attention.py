"""Multi-dimensional attention: gates over time, channels and space for the input current of a spiking layer.

Yao, Zhao, Zhang, Hu, Deng, Tian, Xu, Li: "Attention Spiking Neural Networks", TPAMI 45(8), 2023,
doi 10.1109/TPAMI.2023.3241201.

Where a maximum is reached more than once, its gradient goes to the first element alone. That is what `Tensor.max(dim)`
does; `amax` would share it among all, and equal values are common here (empty patches of an event frame).
"""

from torch import Tensor, cat, nn

from common.errors import UserError

ATTENTIONS = ("no", "TA", "CA", "SA", "TCA", "TSA", "CSA", "TCSA")
"""The names of the paper; the letters before the final A name the gates in the order in which they are applied."""


class TemporalAttention(nn.Module):
    """Gate per step, sigmoid(MLP(mean) + MLP(max)) over all but batch and time.

    `[B, T, C, H, W]` to `[B, T, 1, 1, 1]`, or if `one_dimensional` `[B, T, F]` to `[B, T, 1]`.
    """

    def __init__(self, T: int, t_ratio: int, one_dimensional: bool = False):
        super().__init__()
        self.sharedMLP = bottleneck(nn.Conv1d if one_dimensional else nn.Conv3d, "T", T, "t_ratio", t_ratio)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(tuple(range(2, x.ndim)), keepdim=True)
        peak = x.flatten(2).max(2).values.view_as(mean)
        return (self.sharedMLP(mean) + self.sharedMLP(peak)).sigmoid()


class ChannelAttention(nn.Module):
    """Gate per channel, sigmoid(MLP(mean) + MLP(max)) over time and space: `[B, T, C, H, W]` to `[B, 1, C, 1, 1]`."""

    def __init__(self, channels: int, c_ratio: int):
        super().__init__()
        self.sharedMLP = bottleneck(nn.Conv3d, "channels", channels, "c_ratio", c_ratio)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 3, 4), keepdim=True).transpose(1, 2)
        peak = x.flatten(3).max(3).values.max(1).values.view_as(mean)
        return (self.sharedMLP(mean) + self.sharedMLP(peak)).sigmoid().transpose(1, 2)


class SpatialAttention(nn.Module):
    """Gate per pixel, sigmoid(conv3x3([mean, max])) over time and channels: `[B, T, C, H, W]` to `[B, 1, 1, H, W]`."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2)).unsqueeze(1)
        peak = x.max(2).values.max(1).values.unsqueeze(1)
        return self.conv(cat([mean, peak], 1)).sigmoid().unsqueeze(1)


class Attention(nn.Module):
    """y = ReLU(... gate2(gate1(x) x) (gate1(x) x)): each gate sees what the one before let through.

    The ReLU, which also a single gate has, leaves the neuron behind only non-negative current.

    Args:
        kind: one of `ATTENTIONS` but "no".
        channels, T: sizes of the input `[B, T, C, H, W]`; `[B, T, F]` if `one_dimensional`, which allows TA alone.
        c_ratio, t_ratio: how many times fewer hidden units than channels and steps the gates have.

    Raises:
        UserError: an unknown kind, or a ratio that leaves no hidden unit.
    """

    def __init__(self, kind: str, channels: int, T: int, c_ratio: int, t_ratio: int, one_dimensional: bool = False):
        super().__init__()
        check_attention(kind)
        self.kind = kind
        # Built in the order C, T, S, which is that of the authors' state dicts, whatever the order of application.
        if "C" in kind:
            self.ca = ChannelAttention(channels, c_ratio)
        if "T" in kind:
            self.ta = TemporalAttention(T, t_ratio, one_dimensional)
        if "S" in kind:
            self.sa = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        for letter in self.kind.removesuffix("A"):
            gate = self.get_submodule(f"{letter.lower()}a")
            x = gate(x) * x
        return x.relu()


def check_attention(kind: str) -> None:
    """Refuse a name that is not in `ATTENTIONS`.

    Raises:
        UserError: with the names there are.
    """
    if kind not in ATTENTIONS:
        raise UserError(f"attention {kind!r} is unknown; choose one of {', '.join(ATTENTIONS)}")


def bottleneck(conv: type[nn.Module], what: str, size: int, ratio_name: str, ratio: int) -> nn.Sequential:
    """Size -> size // ratio -> size without biases, as convolutions of kernel 1."""
    if not 1 <= ratio <= size:
        raise UserError(
            f"{what} = {size} with {ratio_name} = {ratio} leaves the attention without hidden units; "
            f"choose {ratio_name} from 1 to {size}, or {what} of at least {ratio}"
        )
    hidden = size // ratio
    return nn.Sequential(conv(size, hidden, 1, bias=False), nn.ReLU(), conv(hidden, size, 1, bias=False))
