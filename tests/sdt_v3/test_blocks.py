"""The building blocks equal the authors' in float64: evaluation, training, gradients and running statistics."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sdt_v3.models.blocks import MLP, Attention, Block, ConvBlock, Downsample, SepConv, conv1x1, visible_batch_norm
from sdt_v3.models.large import ConvBlock as LargeConvBlock
from sdt_v3.models.large import LargeBlock, projection
from sdt_v3.models.neurons import closed_neuron, open_neuron
from sdt_v3.models.repconv import RepConv1d
from tests.parity.harness import Rates, close, fixtures, load
from tests.parity.seeded import load_seeded_weights, seeded_input


class SparseConv(nn.Module):
    """A convolution with its batch norm over the visible places, under the keys of the fixture."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)

    def forward(self, x, visible):
        return visible_batch_norm(self.bn, self.conv(x), visible)


class RepConv2d(nn.Module):
    """BN(conv1x1(depthwise3x3(pad(BN(conv1x1(x)))))): SDT V2's projection, which stands unused in the release."""

    def __init__(self, dim):
        super().__init__()
        depthwise = nn.Conv2d(dim, dim, 3, groups=dim, bias=False)
        pointwise = nn.Conv2d(dim, dim, 1, bias=False)
        self.body = nn.Sequential(
            nn.Conv2d(dim, dim, 1, bias=False),
            PaddingBatchNorm(dim),
            nn.Sequential(depthwise, pointwise, nn.BatchNorm2d(dim)),
        )

    def forward(self, x):
        return self.body(x)


class PaddingBatchNorm(nn.Module):
    """Batch norm of `[B, C, H, W]`, then a border of one place with what the running statistics make of 0."""

    def __init__(self, channels):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = self.bn(x)
        gain = self.bn.weight / (self.bn.running_var + self.bn.eps).sqrt()
        of_zero = (self.bn.bias - self.bn.running_mean * gain).detach()[:, None, None]
        return F.pad(y - of_zero, (1, 1, 1, 1)) + of_zero


def rep_projection(in_chans, channels):
    return nn.Sequential(RepConv2d(in_chans), nn.BatchNorm2d(channels))


BLOCKS = {
    "mod_base_attention_linear": lambda: Attention(32, 4, closed_neuron, conv1x1, 2 * 8**-0.5, 4),
    "mod_base_attention_repconv": lambda: Attention(16, 4, closed_neuron, rep_projection, 4**-0.5),
    "mod_base_block": lambda: Block(32, 4, closed_neuron),
    "mod_base_convblock": lambda: ConvBlock(16, closed_neuron),
    "mod_base_downsample": lambda: Downsample(8, 16, 3, 2, closed_neuron),
    "mod_base_mlp": lambda: MLP(16, closed_neuron),
    "mod_base_sepconv_spike": lambda: SepConv(16, 7, closed_neuron),
    "mod_dvs_block": lambda: Block(32, 4, partial(closed_neuron, norm=1), with_layer_scale=True),
    "mod_large_attention": lambda: Attention(32, 2, open_neuron, projection, 0.125),
    "mod_large_block_base": lambda: LargeBlock(32, 2, open_neuron, 1.0, True, nn.Identity()),
    "mod_large_convblock": lambda: LargeConvBlock(16, open_neuron),
    "mod_mae_convblock": lambda: LargeConvBlock(8, open_neuron),
    "mod_sparse_conv_bn": SparseConv,
}
VISIBLE = torch.from_numpy(np.random.RandomState(77).rand(2, 1, 4, 4) > 0.5)[:, 0]


def folded(array, axes):
    """The array with its leading time axis folded into the batch, if it has more axes than the block takes."""
    return array.flatten(0, 1) if array.ndim > axes else array


@pytest.mark.parametrize("file", fixtures("sdt_v3", "mod_*"))
def test_block_equals_the_original(file):
    meta, expected = load(file)
    block = load_seeded_weights(BLOCKS[file.stem]().double())
    assert [[key, list(value.shape)] for key, value in block.state_dict().items()] == meta["state_dict"]
    axes = 3 if file.stem in ("mod_large_attention", "mod_large_block_base") else 4
    sparse = (VISIBLE,) if file.stem in ("mod_mae_convblock", "mod_sparse_conv_bn") else ()
    shape, seed = meta["input"]["shape"], meta["input"]["seed"]
    x = folded(torch.from_numpy(meta["input"]["scale"] * seeded_input("image", shape, seed)), axes).requires_grad_()
    neurons = [name.replace("lif", "spike") for name in meta["neurons"]]

    block.eval()
    with torch.no_grad(), Rates(block, neurons) as rates:
        close(block(x, *sparse), folded(expected.pop("out_eval"), axes), "out_eval")
    close(rates.array(), expected.pop("rates_eval"), "rates_eval")

    block.train()
    output = block(x, *sparse)
    probe = torch.from_numpy(seeded_input("image", expected["out_train"].shape, seed + 7))
    loss = (output * folded(probe, axes)).sum()
    loss.backward()
    close(output, folded(expected.pop("out_train"), axes), "out_train")
    close(loss, expected.pop("loss"), "loss")
    close(x.grad, folded(expected.pop("grad_input"), axes), "grad_input", rtol=1e-8)
    norms = torch.stack([parameter.grad.norm() for parameter in block.parameters()])
    close(norms, expected.pop("grad_norms"), "grad_norms", rtol=1e-7, atol=1e-8)
    state = block.state_dict()
    close(torch.stack([state[name].norm() for name in meta["running"]]), expected.pop("running"), "running")
    assert not expected, f"unchecked arrays: {sorted(expected)}"


def test_rep_conv_folds_into_one_convolution():
    torch.manual_seed(0)
    rep = load_seeded_weights(RepConv1d(8, 1.5).double()).eval()
    x = torch.randn(2, 8, 5, dtype=torch.float64)
    close(rep.folded()(x), rep(x), rtol=1e-12)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="3 attention heads cannot share 8 channels"):
        Attention(8, 3, closed_neuron, conv1x1, 1.0)


def test_batch_norm_over_visible_places_ignores_the_hidden_ones():
    torch.manual_seed(0)
    bn, x = nn.BatchNorm2d(8), torch.randn(2, 8, 8, 8)
    hidden = ~VISIBLE.repeat_interleave(2, 1).repeat_interleave(2, 2)
    disturbed = x.masked_fill(hidden[:, None], 1e6)
    assert torch.equal(visible_batch_norm(bn, x, VISIBLE), visible_batch_norm(bn, disturbed, VISIBLE))
