"""Spike-masked autoencoder: pretraining of the large family (SDT V3, section 4).

The encoder's stem sees only visible patches (sparse convolutions and batch norms, as in SparK), its transformer blocks
see all tokens, and a small artificial transformer predicts the hidden patches' pixels.
"""

from collections.abc import Sequence
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn

from common.layout import Layout
from common.recompute import Blocks
from common.registry import register
from sdt_v3.models.blocks import expand_mask
from sdt_v3.models.large import Encoder

PATCH = 16
"""Side of a patch in pixels; also the stride of the encoder."""


class MaskedAutoencoder(Encoder):
    """Images `[B, in_chans, S, S]` to (loss, predicted pixels `[B, patches, 16*16*in_chans]`, mask `[B, patches]`).

    loss = mean over hidden patches and their pixels of (prediction - target)^2; True in the mask is hidden.

    Args:
        img_size: S, divisible by 16; patches = (S / 16)^2.
        mask_ratio: share of hidden patches.
        norm_pix_loss: the target is each patch minus its mean, over its standard deviation; else its pixels.
        fix_token_order: the release hands the decoder's position i the token of another patch (an un-shuffle of tokens
            that nobody shuffled). That is the default; True leaves the tokens in place.
        decoder_embed_dim, decoder_depth, decoder_num_heads: size of the decoder.
        settings: as in `Encoder`.
    """

    def __init__(
        self,
        embed_dim: Sequence[int],
        in_chans: int = 3,
        img_size: int = 224,
        *,
        mask_ratio: float = 0.5,
        norm_pix_loss: bool = True,
        fix_token_order: bool = False,
        decoder_embed_dim: int = 256,
        decoder_depth: int = 4,
        decoder_num_heads: int = 4,
        **settings,
    ):
        from timm.models.vision_transformer import Block as ViTBlock

        super().__init__(embed_dim, in_chans, layer_scale=False, **settings)
        if img_size % PATCH:
            raise ValueError(f"img_size must be divisible by {PATCH}, got {img_size}")
        self.layout = Layout("b c h w", in_chans, (img_size, img_size))
        self.side, self.mask_ratio = img_size // PATCH, mask_ratio
        self.norm_pix_loss, self.fix_token_order = norm_pix_loss, fix_token_order
        width, dim = embed_dim[-1], decoder_embed_dim
        # No computation reads pos_embed and mask_token; the authors' files hold them.
        self.pos_embed = nn.Parameter(position_table(width, self.side).T[None].contiguous(), requires_grad=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim), requires_grad=False)
        self.decoder_pos_embed = nn.Parameter(position_table(dim, self.side)[None], requires_grad=False)
        self.norm = nn.BatchNorm1d(width)
        self.decoder_embed = nn.Linear(width, dim)
        norm_layer = partial(nn.LayerNorm, eps=1e-6)
        self.decoder_blocks = Blocks(
            *(ViTBlock(dim, decoder_num_heads, norm_layer=norm_layer) for _ in range(decoder_depth))
        )
        self.decoder_norm = norm_layer(dim)
        self.decoder_pred = nn.Linear(dim, PATCH * PATCH * in_chans)
        self.initialise()

    def initialise(self) -> None:
        """Linear layers N(0, 0.02^2) with bias 0; the rest as torch does."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def rank_patches(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Rank of each patch's noise `[B, patches]`, and whether it is visible: the smallest ones are."""
        ranks = noise.argsort(1).argsort(1)
        return ranks, ranks < int(noise.shape[1] * (1 - self.mask_ratio))

    def encode(self, images: Tensor, visible: Tensor) -> Tensor:
        """Tokens `[B, patches, C]` of the images seen through the mask `visible` `[B, patches]`."""
        grid = visible.unflatten(1, (self.side, self.side))
        seen = images * expand_mask(grid, images.shape[-1]).unsqueeze(1)
        return self.norm(self.tokens(seen, grid)).mT

    def decode(self, tokens: Tensor, ranks: Tensor) -> Tensor:
        """Predicted pixels `[B, patches, 16*16*in_chans]`."""
        x = self.decoder_embed(tokens)
        if not self.fix_token_order:
            x = x.gather(1, ranks[:, :, None].expand_as(x))
        return self.decoder_pred(self.decoder_norm(self.decoder_blocks(x + self.decoder_pos_embed)))

    def targets(self, images: Tensor) -> Tensor:
        """What the decoder should predict, pixels in (row, column, channel) order: `[B, patches, 16*16*in_chans]`."""
        patches = rearrange(images, "b c (h p) (w q) -> b (h w) (p q c)", p=PATCH, q=PATCH)
        if not self.norm_pix_loss:
            return patches
        variance, mean = torch.var_mean(patches, -1, keepdim=True)
        return (patches - mean) / (variance + 1e-6).sqrt()

    def forward(self, images: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        size = self.side * PATCH
        if images.shape[2:] != (size, size):
            raise ValueError(f"expected images [B, C, {size}, {size}], got {list(images.shape)}; see img_size")
        if noise is None:
            noise = torch.rand(len(images), self.side**2, device=images.device)
        ranks, visible = self.rank_patches(noise)
        prediction = self.decode(self.encode(images, visible), ranks)
        loss = (prediction - self.targets(images)).square().mean(-1)[~visible].mean()
        return loss, prediction, ~visible


def unexportable(model: nn.Module) -> str:
    """Why a network of this paper cannot be exported; empty if it can."""
    if isinstance(model, MaskedAutoencoder):
        return "how much it computes depends on a mask that is drawn anew; export the classifier after fine-tuning"
    if hasattr(model, "roi_head"):
        return "how much it computes depends on what is in the picture; export its backbone, neck or a head by yourself"
    return ""


def position_table(dim: int, side: int) -> Tensor:
    """Sine-cosine positions `[side*side, dim]` of a grid, row by row: one half codes the column, the next the row.

    Each half is [sin(p w_i), cos(p w_i)] with w_i = 10000^(-i / (dim / 4)).
    """
    rates = 10000 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * rates
    codes = torch.cat([angles.sin(), angles.cos()], 1).float()
    columns, rows = codes.repeat(side, 1), codes.repeat_interleave(side, 0)
    return torch.cat([columns, rows], 1)


@register
def sdt_v3_mae_83m(
    embed_dim: Sequence[int] = (128, 256, 512), *, rep_ratio: float | None = 1.0, **kwargs
) -> MaskedAutoencoder:
    """Masked autoencoder of `sdt_v3_83m`, 85.6 M parameters; keyword arguments as in `MaskedAutoencoder`."""
    return MaskedAutoencoder(embed_dim, rep_ratio=rep_ratio, **kwargs)


@register
def sdt_v3_mae_173m(
    embed_dim: Sequence[int] = (192, 384, 768), *, rep_ratio: float | None = None, **kwargs
) -> MaskedAutoencoder:
    """Masked autoencoder of `sdt_v3_173m`, 173.8 M parameters; keyword arguments as in `MaskedAutoencoder`."""
    return MaskedAutoencoder(embed_dim, rep_ratio=rep_ratio, **kwargs)
