"""Spikingformer and its CML variant: spiking transformers whose residual sums are real-valued membrane input.

Zhou, Yu, Zhou, Zhang, Ma, Zhou, Tian: "Spikingformer: Spike-driven Residual Learning for Transformer-based Spiking
Neural Network", 2023, arXiv 2304.11954. Zhou, Zhang, Zhou, Yu, Ma, Zhou, Fan, Tian: "Enhancing the Performance of
Transformer-based Spiking Neural Networks by SNN-optimized Downsampling with Precise Gradient Backpropagation", 2023,
arXiv 2305.05954.

Every branch is neuron -> convolution -> BN, so each convolution but the first sees spikes. CML pools the real-valued
BN output before the neuron instead of the spikes after it; a real maximum is unique, so its gradient finds its place.
Input `[B, C, H, W]` images or `[B, T, C, H, W]` frames, output `[B, num_classes]`. State dict keys are the authors'.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor, nn

from common.layers import SpikeConv1d, SpikeConv2d, SpikingAttention
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


@dataclass(frozen=True)
class Stem:
    """One tokenizer: which of its five stages halve the map, before or after their convolution, and its names."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    keys: tuple[str, ...] = ("proj", "proj1", "proj2", "proj3", "proj4")
    pool: str = "maxpool{number}"
    tau: float = 2.0


BLOCK_KEYS = ("block0", "block1", "block2", "block3", "block4")
STEMS = {
    ("imagenet", "spikingformer"): Stem(before=(1, 2, 3, 4)),
    ("imagenet", "cml"): Stem(after=(0, 1, 2, 3)),
    ("cifar", "spikingformer"): Stem(before=(3, 4), keys=BLOCK_KEYS, pool="{key}_mp"),
    ("cifar", "cml"): Stem(after=(2, 3), pool="{key}_mp"),
    ("dvs", "spikingformer"): Stem(before=(1, 2, 3, 4), tau=1.5),
    ("dvs", "cml"): Stem(after=(0, 1, 2, 3), tau=1.75),
}


class Tokenizer(nn.Module):
    """Five stages (neuron, but in the first) (pool) convolution, BN (pool), of widths D/8, D/4, D/2, D, D."""

    def __init__(self, stem: Stem, in_chans: int, dim: int):
        super().__init__()
        widths = (in_chans, dim // 8, dim // 4, dim // 2, dim, dim)
        for stage, key in enumerate(stem.keys):
            pool = stem.pool.format(key=key, number=stage or "")
            if stage > 0:
                self.add_module(f"{key}_lif", SpikingNeuron(stem.tau))
            if stage in stem.before:
                self.add_module(pool, halve())
            self.add_module(f"{key}_conv", conv3x3(*widths[stage : stage + 2]))
            self.add_module(f"{key}_bn", nn.BatchNorm2d(widths[stage + 1]))
            if stage in stem.after:
                self.add_module(pool, halve())

    def forward(self, x: Tensor, T: int) -> Tensor:
        return tokenize(self.children(), x, T)


class SelfAttention(nn.Module):
    """BN(Conv(LIF(scale * q k^T v))) of `[T, B, D, H, W]` per head, with q, k, v = LIF(BN(Conv(LIF(x))))."""

    def __init__(self, dim: int, num_heads: int, tau: float, scale: float = 0.125):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"num_heads must divide the width {dim}, got {num_heads}")
        self.num_heads = num_heads
        self.proj_lif = SpikingNeuron(tau)
        self.q_conv, self.q_bn, self.q_lif = conv1(dim), nn.BatchNorm1d(dim), SpikingNeuron(tau)
        self.k_conv, self.k_bn, self.k_lif = conv1(dim), nn.BatchNorm1d(dim), SpikingNeuron(tau)
        self.v_conv, self.v_bn, self.v_lif = conv1(dim), nn.BatchNorm1d(dim), SpikingNeuron(tau)
        self.attention = SpikingAttention(scale)
        self.attn_lif = SpikingNeuron(tau, ATTENTION_THRESHOLD)
        self.proj_conv, self.proj_bn = conv1(dim, bias=True), nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.proj_lif(x).flatten(3)
        q = self.heads(self.q_lif(fold_time(spikes, self.q_conv, self.q_bn)))
        k = self.heads(self.k_lif(fold_time(spikes, self.k_conv, self.k_bn)))
        v = self.heads(self.v_lif(fold_time(spikes, self.v_conv, self.v_bn)))
        mixed = self.attention(q, k, v).transpose(-2, -1).flatten(2, 3)
        return fold_time(self.attn_lif(mixed), self.proj_conv, self.proj_bn).view_as(x)

    def heads(self, x: Tensor) -> Tensor:
        """`[T, B, D, N]` to `[T, B, heads, N, D / heads]`."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(-2, -1)


class MLP(nn.Module):
    """BN(Conv(LIF(BN(Conv(LIF(x)))))) of `[T, B, D, H, W]`, with `hidden` channels between."""

    def __init__(self, dim: int, hidden: int, tau: float):
        super().__init__()
        self.mlp1_lif = SpikingNeuron(tau)
        self.mlp1_conv, self.mlp1_bn = SpikeConv2d(dim, hidden, 1), nn.BatchNorm2d(hidden)
        self.mlp2_lif = SpikingNeuron(tau)
        self.mlp2_conv, self.mlp2_bn = SpikeConv2d(hidden, dim, 1), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = fold_time(self.mlp1_lif(x), self.mlp1_conv, self.mlp1_bn)
        return fold_time(self.mlp2_lif(hidden), self.mlp2_conv, self.mlp2_bn)


def conv1(channels: int, bias: bool = False) -> SpikeConv1d:
    """Pointwise convolution of tokens `[B, C, N]`."""
    return SpikeConv1d(channels, channels, 1, bias=bias)


def spikingformer(
    stem: Literal["imagenet", "cifar", "dvs"],
    *,
    downsampling: Literal["spikingformer", "cml"] = "spikingformer",
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
    """A Spikingformer.

    Args:
        stem: the data set family, which with `downsampling` chooses the tokenizer and the neurons' tau.
        downsampling: pool spikes ("spikingformer") or the real values before the neuron ("cml").
        embed_dim: width D of the tokens.
        depth: number of blocks.
        num_heads: attention heads, a divisor of D.
        mlp_ratio: hidden width of the MLP over D.
        T: steps for which an image is shown; frames bring their own number.
        num_classes: width of the output.
        in_chans: channels of the input.
        img_size: its height and width.
        attn_scale: factor of the attention, the same for every head width.
        drop_path_rate: stochastic depth of the last block. The authors configure 0.2 but never apply it, hence 0.
    """
    if (stem, downsampling) not in STEMS:
        raise ValueError(f"downsampling must be 'spikingformer' or 'cml', got {downsampling!r}")
    layout = STEMS[stem, downsampling]
    blocks = (
        Block(
            embed_dim,
            SelfAttention(embed_dim, num_heads, layout.tau, attn_scale),
            MLP(embed_dim, mlp_ratio * embed_dim, layout.tau),
            rate,
        )
        for rate in np.linspace(0, drop_path_rate, depth).tolist()
    )
    return SpikingTransformer(
        Tokenizer(layout, in_chans, embed_dim),
        blocks,
        token_dims=(3, 4),
        dim=embed_dim,
        num_classes=num_classes,
        T=T,
        in_chans=in_chans,
        img_size=img_size,
        events=stem == "dvs",
    )


IMAGENET = {"stem": "imagenet", "num_classes": 1000, "img_size": 224}
CIFAR = {"stem": "cifar", "num_classes": 10, "img_size": 32}
DVS = {"stem": "dvs", "num_classes": 10, "img_size": 128, "in_chans": 2, "T": 16}
VARIANTS = {
    "8_384": {**IMAGENET, "embed_dim": 384, "depth": 8, "num_heads": 8},
    "8_512": {**IMAGENET, "embed_dim": 512, "depth": 8, "num_heads": 8},
    "8_768": {**IMAGENET, "embed_dim": 768, "depth": 8, "num_heads": 8},
    "cifar_4_256": {**CIFAR, "embed_dim": 256, "depth": 4, "num_heads": 8},
    "cifar_2_384": {**CIFAR, "embed_dim": 384, "depth": 2, "num_heads": 12},
    "cifar_4_384": {**CIFAR, "embed_dim": 384, "depth": 4, "num_heads": 12},
    "dvs_2_256": {**DVS, "embed_dim": 256, "depth": 2, "num_heads": 16},
}
"""What `spikingformer_<name>` and `cml_spikingformer_<name>` are; how many heads 4_256 had is not recorded."""

for _name, _variant in VARIANTS.items():
    register_variant(f"spikingformer_{_name}", spikingformer, _variant)
    register_variant(f"cml_spikingformer_{_name}", spikingformer, {**_variant, "downsampling": "cml"})
