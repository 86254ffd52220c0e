"""The attention blocks and layers equal the authors', and settings that cannot work are refused at once."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from common.errors import UserError
from common.neurons import LIAFNode
from ma_snn.models.attention import ATTENTIONS, Attention, ChannelAttention, SpatialAttention, TemporalAttention
from ma_snn.models.event_networks import neuron_factory
from ma_snn.models.layers import AttLIF, ConvAttLIF
from ma_snn.module import LIF, LIF_Module
from ma_snn.module import Attention as Att
from tests.ma_snn.blocks import check_block
from tests.parity.harness import close, fixtures


def layer(kind, inputs, k):
    """The layer of a fixture with the keyword arguments `k` of its meta dictionary."""
    neuron = neuron_factory(
        k["neuron"],
        k["alpha"],
        k["beta"],
        k["v_threshold"],
        k["surrogate_half_width"],
        k["liaf_threshold_related"],
        "relu",
    )
    gate = None
    if k["attention"] != "no":
        one_dimensional = kind is AttLIF
        gate = Attention(k["attention"], k["out_features"], k["T"], k["c_ratio"], k["t_ratio"], one_dimensional)
    build = partial(ConvAttLIF, pool=k["pool"]) if kind is ConvAttLIF else AttLIF
    return build(inputs, k["out_features"], attention=gate, neuron=neuron())


@pytest.mark.parametrize("file", fixtures("ma_snn", "block_attention_*"))
def test_attention_equals_the_original(file):
    check_block(file, lambda meta: Attention(**meta["kwargs"]))


@pytest.mark.parametrize("file", fixtures("ma_snn", "block_convlayer_*"))
def test_conv_layer_equals_the_original(file):
    check_block(file, lambda meta: layer(ConvAttLIF, meta["input"]["shape"][2], meta["kwargs"]))


@pytest.mark.parametrize("file", fixtures("ma_snn", "block_fclayer_*"))
def test_fully_connected_layer_equals_the_original(file):
    check_block(file, lambda meta: layer(AttLIF, meta["input"]["shape"][2], meta["kwargs"]))


@pytest.mark.parametrize("build", [partial(TemporalAttention, 4, 2), partial(ChannelAttention, 8, 2)])
def test_among_equal_maxima_the_first_takes_the_gradient(build):
    torch.manual_seed(0)
    gate = build().double()
    x = torch.randint(0, 3, (2, 4, 8, 3, 3)).double().requires_grad_()
    pools = {4: x, 8: x.transpose(1, 2)}
    rows = pools[gate.sharedMLP[0].in_channels]
    pooled = F.adaptive_avg_pool3d(rows, 1), F.adaptive_max_pool3d(rows, 1)
    expected = sum(gate.sharedMLP(values) for values in pooled).sigmoid()
    probe = torch.randn(expected.shape, dtype=torch.float64)
    (reference,) = torch.autograd.grad((expected * probe).sum(), x)
    output = gate(x)
    (gradient,) = torch.autograd.grad((output * probe.view_as(output)).sum(), x)
    close(gradient, reference)


def test_among_equal_maxima_of_a_pixel_the_first_takes_the_gradient():
    torch.manual_seed(0)
    gate = SpatialAttention().double()
    x = torch.randint(0, 3, (2, 4, 8, 3, 3)).double().requires_grad_()
    maps = torch.stack([x.mean((1, 2)), x.flatten(1, 2).max(1).values], 1)
    expected = gate.conv(maps).sigmoid()
    probe = torch.randn(expected.shape, dtype=torch.float64)
    (reference,) = torch.autograd.grad((expected * probe).sum(), x)
    (gradient,) = torch.autograd.grad((gate(x).squeeze(1) * probe).sum(), x)
    close(gradient, reference)


@pytest.mark.parametrize("kind", [kind for kind in ATTENTIONS if kind != "no"])
def test_attention_passes_no_negative_current(kind):
    x = torch.randn(2, 4, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    assert Attention(kind, 8, 4, c_ratio=4, t_ratio=2)(x).min() == 0


def test_an_unknown_attention_is_refused_with_the_names_there_are():
    with pytest.raises(UserError, match="attention 'CTA' is unknown; choose one of no, TA, CA"):
        Attention("CTA", 8, 4, 4, 2)


@pytest.mark.parametrize(
    "kind, message", [("TA", "T = 4 with t_ratio = 5 .* T of at least 5"), ("CA", "channels = 8 with c_ratio = 16")]
)
def test_a_ratio_that_leaves_no_hidden_unit_is_refused(kind, message):
    with pytest.raises(UserError, match=message):
        Attention(kind, 8, 4, c_ratio=16, t_ratio=5)


def test_the_files_that_the_papers_readme_names_lead_to_the_code():
    assert Att.Attention is Attention
    assert LIF_Module.ConvAttLIF is ConvAttLIF
    assert LIF.LIAFNode is LIAFNode
