"""CML-Spikformer: Spikformer, whose residual sums add spikes, with the CML order of downsampling.

Zhou, Zhang, Zhou, Yu, Ma, Zhou, Fan, Tian: "Enhancing the Performance of Transformer-based Spiking Neural Networks by
SNN-optimized Downsampling with Precise Gradient Backpropagation", 2023, arXiv 2305.05954.

Only the authors' CIFAR network is public; its state dict keys are kept. The ImageNet and DVS networks are
reconstructions: the CIFAR file with the stem of that size and without bias in q, k and v, which gives the parameter
count of the published ImageNet log (66,363,208 for 8-768). The keys of files for them are unknown.
"""

import numpy as np
from torch import Tensor, nn

from common.layers import SpikeLinear, SpikingAttention
from spikingformer.models.spikingformer import VARIANTS
from spikingformer.models.transformer import (
    ATTENTION_THRESHOLD,
    Block,
    SpikingNeuron,
    SpikingTransformer,
    conv3x3,
    fold_time,
    halve,
    register_variant,
    tokenize,
)


class Tokenizer(nn.Module):
    """Four stages convolution, BN, [pool], LIF, then x + LIF(BN(Conv(x))): `[T, B, N, D]` tokens in {0, 1, 2}."""

    def __init__(self, pools: tuple[int, ...], in_chans: int, dim: int, tau: float):
        super().__init__()
        widths = (in_chans, dim // 8, dim // 4, dim // 2, dim)
        for stage in range(4):
            key = f"block{stage + 1}"
            self.add_module(f"{key}_conv", conv3x3(*widths[stage : stage + 2]))
            self.add_module(f"{key}_bn", nn.BatchNorm2d(widths[stage + 1]))
            if stage in pools:
                self.add_module(f"{key}_mp", halve())
            self.add_module(f"{key}_lif", SpikingNeuron(tau))
        self.rpe_conv, self.rpe_bn, self.rpe_lif = conv3x3(dim, dim), nn.BatchNorm2d(dim), SpikingNeuron(tau)

    def forward(self, x: Tensor, T: int) -> Tensor:
        *stages, rpe_conv, rpe_bn, rpe_lif = self.children()
        x = tokenize(stages, x, T)
        x = x + rpe_lif(fold_time(x, rpe_conv, rpe_bn))
        return x.flatten(3).transpose(-2, -1)


class SelfAttention(nn.Module):
    """LIF(BN(Linear(LIF(scale * q k^T v)))) of tokens `[T, B, N, D]` per head, with q, k, v = LIF(BN(Linear(x)))."""

    def __init__(self, dim: int, num_heads: int, tau: float, scale: float = 0.125, qkv_bias: bool = True):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"num_heads must divide the width {dim}, got {num_heads}")
        self.num_heads = num_heads
        self.q_linear, self.q_bn, self.q_lif = layer(dim, dim, tau, qkv_bias)
        self.k_linear, self.k_bn, self.k_lif = layer(dim, dim, tau, qkv_bias)
        self.v_linear, self.v_bn, self.v_lif = layer(dim, dim, tau, qkv_bias)
        self.attention = SpikingAttention(scale)
        self.attn_lif = SpikingNeuron(tau, ATTENTION_THRESHOLD)
        self.proj_linear, self.proj_bn, self.proj_lif = layer(dim, dim, tau)

    def forward(self, x: Tensor) -> Tensor:
        q = self.heads(self.q_lif(fold_tokens(x, self.q_linear, self.q_bn)))
        k = self.heads(self.k_lif(fold_tokens(x, self.k_linear, self.k_bn)))
        v = self.heads(self.v_lif(fold_tokens(x, self.v_linear, self.v_bn)))
        mixed = self.attention(q, k, v).transpose(2, 3).flatten(3)
        return self.proj_lif(fold_tokens(self.attn_lif(mixed), self.proj_linear, self.proj_bn))

    def heads(self, x: Tensor) -> Tensor:
        """`[T, B, N, D]` to `[T, B, heads, N, D / heads]`."""
        return x.unflatten(3, (self.num_heads, -1)).transpose(2, 3)


class MLP(nn.Module):
    """LIF(BN(Linear(LIF(BN(Linear(x)))))) of tokens `[T, B, N, D]`, with `hidden` channels between."""

    def __init__(self, dim: int, hidden: int, tau: float):
        super().__init__()
        self.fc1_linear, self.fc1_bn, self.fc1_lif = layer(dim, hidden, tau)
        self.fc2_linear, self.fc2_bn, self.fc2_lif = layer(hidden, dim, tau)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1_lif(fold_tokens(x, self.fc1_linear, self.fc1_bn))
        return self.fc2_lif(fold_tokens(hidden, self.fc2_linear, self.fc2_bn))


def layer(inputs: int, outputs: int, tau: float, bias: bool = True) -> tuple[nn.Linear, nn.BatchNorm1d, nn.Module]:
    """Linear, BN and neuron, which stand one after another everywhere in Spikformer."""
    return SpikeLinear(inputs, outputs, bias=bias), nn.BatchNorm1d(outputs), SpikingNeuron(tau)


def fold_tokens(x: Tensor, linear: nn.Module, bn: nn.Module) -> Tensor:
    """bn(linear(x)) per token of `[T, B, N, D]`; the batch norm takes its statistics over T, B and N."""
    return bn(linear(x.flatten(0, 2))).unflatten(0, x.shape[:3])


POOLS = {"imagenet": (0, 1, 2, 3), "cifar": (2, 3), "dvs": (0, 1, 2, 3)}
TAU = {"imagenet": 2.0, "cifar": 2.0, "dvs": 1.75}
"""The DVS value is that of CML-Spikingformer."""


def cml_spikformer(
    stem: str,
    *,
    embed_dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: int = 4,
    T: int = 4,
    num_classes: int,
    in_chans: int = 3,
    img_size: int,
    attn_scale: float = 0.125,
    drop_path_rate: float = 0.0,
) -> SpikingTransformer:
    """A CML-Spikformer; arguments as in `spikingformer`."""
    tau = TAU[stem]
    blocks = (
        Block(
            embed_dim,
            SelfAttention(embed_dim, num_heads, tau, attn_scale, qkv_bias=stem == "cifar"),
            MLP(embed_dim, mlp_ratio * embed_dim, tau),
            rate,
        )
        for rate in np.linspace(0, drop_path_rate, depth).tolist()
    )
    return SpikingTransformer(
        Tokenizer(POOLS[stem], in_chans, embed_dim, tau),
        blocks,
        token_dims=(2,),
        dim=embed_dim,
        num_classes=num_classes,
        T=T,
        in_chans=in_chans,
        img_size=img_size,
        events=stem == "dvs",
    )


for _name, _variant in VARIANTS.items():
    register_variant(f"cml_spikformer_{_name}", cml_spikformer, _variant)
