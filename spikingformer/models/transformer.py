"""What Spikingformer and CML-Spikformer share: how a tokenizer runs over time, the block, the network around them."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from common.layers import SpikeConv2d, SpikeMaxPool2d, TimeFolded, stem_of_static_image
from common.layout import Layout
from common.neurons import LIFNode, Sigmoid
from common.recompute import Blocks, GradCheckpointing
from common.registry import register

SpikingNeuron = partial(LIFNode, surrogate=Sigmoid(4.0))
"""The neuron of both papers, called with (tau, threshold); all thresholds are 1 but that of the attention."""

ATTENTION_THRESHOLD = 0.5


def fold_time(x: Tensor, *layers: nn.Module) -> Tensor:
    """`layers` applied in turn to `[T, B, ...]` as to one batch `[T*B, ...]`."""
    folded = x.flatten(0, 1)
    for layer in layers:
        folded = layer(folded)
    return folded.unflatten(0, x.shape[:2])


def conv3x3(in_chans: int, channels: int) -> SpikeConv2d:
    """3x3 convolution without bias that keeps the size."""
    return SpikeConv2d(in_chans, channels, 3, padding=1, bias=False)


def halve() -> SpikeMaxPool2d:
    """3x3 max-pooling with stride 2, which rounds up."""
    return SpikeMaxPool2d(3, stride=2, padding=1)


def tokenize(layers: Iterable[nn.Module], x: Tensor, T: int) -> Tensor:
    """Run convolution, BN and the `layers` after them in turn: frames `[T, B, C, H, W]` to `[T, B, D, H', W']`.

    An image `[B, C, H, W]` is shown at T steps; what comes before the first neuron is then computed once.
    """
    layers = list(layers)
    if x.ndim == 4:
        x = stem_of_static_image(TimeFolded(*layers[:2]), x, T)
        layers = layers[2:]
    for layer in layers:
        x = layer(x.expand(T, *x.shape[1:])) if isinstance(layer, LIFNode) else fold_time(x, layer)
    return x


class Block(nn.Module):
    """x + attn(x), then x + mlp(x), any shape `[T, B, ...]`.

    `norm1` and `norm2` take no part in it: the authors' files hold them, so they are kept for strict loading.
    """

    def __init__(self, dim: int, attn: nn.Module, mlp: nn.Module, drop_path: float = 0.0):
        from timm.layers import DropPath

        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = attn
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = mlp
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop(self.attn(x))
        return x + self._drop(self.mlp(x))

    def _drop(self, branch: Tensor) -> Tensor:
        return self.drop_path(branch.transpose(0, 1)).transpose(0, 1)  # one decision per sample, the same at every step


class SpikingTransformer(GradCheckpointing, nn.Module):
    """Tokenizer, blocks, and a linear head on the mean over tokens and time: `[B, num_classes]` logits.

    Args:
        patch_embed: called with (image `[B, C, H, W]` or frames `[T, B, C, H, W]`, T).
        blocks: applied in turn to its output.
        token_dims: axes of the tokens in it, which the head averages over.
        dim: width D of the tokens.
        T: steps for which an image is shown; frames bring their own number.
        in_chans: channels of the input.
        img_size: its height and width.
        events: whether its usual input is frames and not images; it takes both.
    """

    def __init__(
        self,
        patch_embed: nn.Module,
        blocks: Iterable[nn.Module],
        token_dims: tuple[int, ...],
        *,
        dim: int,
        num_classes: int,
        T: int,
        in_chans: int,
        img_size: int,
        events: bool,
    ):
        super().__init__()
        if T < 1:
            raise ValueError(f"T must be at least 1, got {T}")
        self.T, self.num_classes, self.img_size, self.token_dims = T, num_classes, img_size, token_dims
        usual, other = ("b t c h w", "b c h w") if events else ("b c h w", "b t c h w")
        self.layout = Layout(usual, in_chans, (img_size, img_size), T, also=(other,))
        self.patch_embed = patch_embed
        self.block = Blocks(*blocks)
        self.head = nn.Linear(dim, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # DistributedDataParallel reads this: parameters without a gradient would make it wait for one forever.
        self._ddp_params_and_buffers_to_ignore = [
            name for name, _ in self.named_parameters() if ".norm1." in name or ".norm2." in name
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, num_classes]` of images `[B, C, H, W]` or of frames `[B, T, C, H, W]`."""
        if x.ndim not in (4, 5) or x.shape[-2:] != (self.img_size, self.img_size):
            size = f"{self.img_size}, {self.img_size}"
            raise ValueError(f"expected images [B, C, {size}] or frames [B, T, C, {size}], got {list(x.shape)}")
        T = self.T
        if x.ndim == 5:
            x, T = x.transpose(0, 1), x.shape[1]
        x = self.block(self.patch_embed(x, T))
        return self.head(x.mean((0, *self.token_dims)))


def register_variant(name: str, build: Callable[..., nn.Module], defaults: Mapping[str, Any]) -> None:
    """Register `name` with timm as `build` called with `defaults`, which keyword arguments override."""

    def factory(**kwargs) -> nn.Module:
        return build(**{**defaults, **kwargs})

    factory.__name__ = factory.__qualname__ = name
    factory.__doc__ = f"`{build.__name__}` with {', '.join(f'{key}={value}' for key, value in defaults.items())}."
    register(factory)
