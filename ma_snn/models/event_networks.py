"""The shallow attention SNNs for event cameras of MA-SNN (TPAMI 2023), one class for three data sets.

Input `[B, T, in_chans, X, Y]` event counts, output `[B, num_classes]`: the last layer's mean over T, a firing rate with
LIF neurons. State dict keys are those of the authors' files without `module.`.

| data set             | input     | channels (average pool) of the conv layers           | hidden |
|----------------------|-----------|------------------------------------------------------|--------|
| DVS128 Gesture       | 32 x 32   | 64 (1), 128 (2), 128 (2)                             | 256    |
| CIFAR10-DVS, DVSGait | 128 x 128 | 32 (2), 64 (2), 128 (2), 256 (2), 512 (4)            | 256    |
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import prod
from typing import Literal

from torch import Tensor, nn

from common.errors import UserError
from common.layout import Layout
from common.neurons import LIAFNode, Rectangle, ThresholdResetLIFNode
from common.registry import register
from ma_snn.models.attention import Attention, check_attention
from ma_snn.models.layers import AttLIF, ConvAttLIF

SMALL = ((64, 1), (128, 2), (128, 2))
LARGE = ((32, 2), (64, 2), (128, 2), (256, 2), (512, 4))
DEPTHS = {3: SMALL, 5: LARGE}
"""The two networks by their number of convolutional layers."""
HIDDEN = 256
ACTIVATIONS = {"relu": "relu", "none": None}
INITIALISATIONS = {"xavier": nn.init.xavier_normal_, "kaiming": nn.init.kaiming_normal_}


class AttentionSNN(nn.Module):
    """Convolutional and two fully connected layers, each with attention on the current of its neurons.

    The fully connected layers have time attention when `attention` has one, else none.

    Args:
        stages: (channels, average pool) of each convolutional layer.
        T: time steps. Time attention is built for exactly this many; without it an input may have any number.
        img_size: X = Y of the input.
        attention: one of `ma_snn.models.attention.ATTENTIONS`.
        neuron: "lif" passes spikes on, "liaf" relu(u) of the membrane potential.
        c_ratio, t_ratio: bottlenecks of the attention.
        alpha, beta, v_threshold, surrogate_half_width: see `common.neurons.ThresholdResetLIFNode`.
        liaf_threshold_related: LIAF passes relu(u - v_threshold) on, `TR_model = "TR"` in the original.
        mem_act: "relu", or "none" for the membrane potential of LIAF as it is.
        init_method: "xavier" or "kaiming" for the convolutions, None for PyTorch's own.
        width: multiplies every channel and hidden width; the paper's is 1.

    Raises:
        UserError: an unknown name, a ratio that leaves no hidden unit, or an image that the pools do not divide.
    """

    def __init__(
        self,
        stages: tuple[tuple[int, int], ...],
        T: int,
        num_classes: int,
        in_chans: int = 2,
        *,
        img_size: int,
        t_ratio: int,
        surrogate_half_width: float,
        attention: str = "no",
        neuron: Literal["lif", "liaf"] = "lif",
        c_ratio: int = 8,
        alpha: float = 0.3,
        beta: float = 0.0,
        v_threshold: float = 0.3,
        liaf_threshold_related: bool = False,
        mem_act: Literal["relu", "none"] = "relu",
        init_method: Literal["xavier", "kaiming"] | None = None,
        width: float = 1.0,
    ):
        super().__init__()
        check_attention(attention)
        shrink = prod(pool for _, pool in stages)
        if T < 1 or img_size < shrink or img_size % shrink:
            raise UserError(
                f"expected T >= 1 and an input side that is a multiple of {shrink}, got {T} and {img_size}; "
                "change T, or the spatial down-sampling ds"
            )
        self.T, self.num_classes, self.attention = T, num_classes, attention
        self.layout = Layout("b t c w h", in_chans, (img_size, img_size), T)
        self.frame = (in_chans, img_size, img_size)
        cell = neuron_factory(neuron, alpha, beta, v_threshold, surrogate_half_width, liaf_threshold_related, mem_act)
        gates = partial(Attention, T=T, c_ratio=c_ratio, t_ratio=t_ratio)
        channels = [in_chans, *(round(width * channels) for channels, _ in stages)]
        for i, ((before, after), (_, pool)) in enumerate(zip(pairwise(channels), stages, strict=True)):
            gate = None if attention == "no" else gates(attention, after)
            self.add_module(f"convAttLIF{i}", ConvAttLIF(before, after, pool, gate, cell()))
        features = [channels[-1] * (img_size // shrink) ** 2, round(width * HIDDEN), num_classes]
        for i, (before, after) in enumerate(pairwise(features)):
            gate = gates("TA", after, one_dimensional=True) if "T" in attention else None
            self.add_module(f"FC{i}", AttLIF(before, after, gate, cell()))
        initialise(self, init_method)

    def forward(self, x: Tensor) -> Tensor:
        any_T = "T" not in self.attention
        if x.ndim != 5 or tuple(x.shape[2:]) != self.frame or not (any_T or x.shape[1] == self.T):
            expected = ", ".join(map(str, ("T" if any_T else f"T={self.T}", *self.frame)))
            raise ValueError(f"expected frames [B, {expected}], got {list(x.shape)}")
        for layer in self.children():
            x = layer(x.flatten(2) if isinstance(layer, AttLIF) else x)
        return x.mean(1)


def neuron_factory(
    neuron: str,
    alpha: float,
    beta: float,
    v_threshold: float,
    surrogate_half_width: float,
    threshold_related: bool,
    mem_act: Literal["relu", "none"],
) -> Callable[[], nn.Module]:
    """Makes the neurons of a network; they are applied to `[B, T, ...]`.

    Raises:
        UserError: an unknown neuron or activation.
    """
    if mem_act not in ACTIVATIONS:
        raise UserError(f"mem_act {mem_act!r} is unknown; choose one of {', '.join(ACTIVATIONS)}")
    constants = (alpha, beta, v_threshold)
    surrogate = Rectangle(surrogate_half_width)
    if neuron == "lif":
        return partial(ThresholdResetLIFNode, *constants, surrogate=surrogate)
    if neuron == "liaf":
        extra = {"activation": ACTIVATIONS[mem_act], "threshold_related": threshold_related}
        return partial(LIAFNode, *constants, surrogate=surrogate, **extra)
    raise UserError(f"neuron {neuron!r} is unknown; choose lif (spikes) or liaf (graded output)")


def initialise(model: nn.Module, method: str | None) -> None:
    """Draw the weights of all convolutional layers anew and set their biases to 0; None leaves all as it is.

    Raises:
        UserError: an unknown method.
    """
    if method is None:
        return
    if method not in INITIALISATIONS:
        raise UserError(f"init_method {method!r} is unknown; choose one of {', '.join(INITIALISATIONS)}, or None")
    for layer in model.modules():
        if isinstance(layer, ConvAttLIF):
            INITIALISATIONS[method](layer.conv2d.weight)
            nn.init.zeros_(layer.conv2d.bias)


PUBLISHED = {
    "dvsgestures": {
        "stages": SMALL, "img_size": 32, "T": 60, "num_classes": 11, "t_ratio": 5, "surrogate_half_width": 0.25,
    },
    "cifar10dvs": {
        "stages": LARGE, "img_size": 128, "T": 20, "num_classes": 10, "t_ratio": 2, "surrogate_half_width": 0.5,
    },
    "dvsgait": {
        "stages": LARGE, "img_size": 128, "T": 8, "num_classes": 21, "t_ratio": 2, "surrogate_half_width": 0.25,
    },
}  # fmt: skip
"""The published settings of each data set."""


@register
def ma_snn_dvsgestures(**kwargs) -> AttentionSNN:
    """MA-SNN for DVS128 Gesture; keyword arguments as in `AttentionSNN`, with the defaults of `PUBLISHED`."""
    return AttentionSNN(**PUBLISHED["dvsgestures"] | kwargs)


@register
def ma_snn_cifar10dvs(**kwargs) -> AttentionSNN:
    """MA-SNN for CIFAR10-DVS; keyword arguments as in `AttentionSNN`, with the defaults of `PUBLISHED`."""
    return AttentionSNN(**PUBLISHED["cifar10dvs"] | kwargs)


@register
def ma_snn_dvsgait(**kwargs) -> AttentionSNN:
    """MA-SNN for DVS128-Gait; keyword arguments as in `AttentionSNN`, with the defaults of `PUBLISHED`."""
    return AttentionSNN(**PUBLISHED["dvsgait"] | kwargs)
