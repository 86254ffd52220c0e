"""The weights that are drawn are those by which the modules weigh."""

import numpy as np
import torch

from common.analysis.attention_maps import attention_panels, read_self_attention
from common.layers import SpikingAttention
from gac.attention_readers import read_gac
from gac.models.gau import GAC
from ma_snn.models.attention import Attention
from sma.attention_readers import read_sma
from sma.models.attention import SMA, SMA_L
from tests.tools.small_networks import lively
from tools.visualize import readers


def panels_of(model, *x):
    with torch.no_grad():
        return {panel.title: panel.values for panel in attention_panels(model.eval(), *x, readers())}


@torch.no_grad()
def check_sma(kind):
    module, x = lively(kind(8, 4)), torch.rand(4, 1, 8, 6, 6)
    weights = [torch.from_numpy(panel.values)[:, None, :, None, None] for panel in read_sma(module, (x,), None)]
    mixed = sum(w * branch(x) for w, branch in zip(weights, module.S_Convs, strict=True))
    torch.testing.assert_close(mixed, module(x))


def test_sma_weighs_its_branches_with_what_is_drawn():
    check_sma(SMA)


def test_lightweight_sma_weighs_its_branches_with_what_is_drawn():
    check_sma(SMA_L)


@torch.no_grad()
def test_ma_snn_multiplies_by_the_gates_that_are_drawn():
    module, x = Attention("TCSA", 8, 4, c_ratio=2, t_ratio=2).eval(), torch.rand(1, 4, 8, 6, 6)
    drawn = panels_of(module, x)
    gate = np.einsum("t,c,hw->tchw", drawn["ta\ntemporal"], drawn["ca\nchannel"], drawn["sa\nspatial"])
    torch.testing.assert_close(torch.from_numpy(gate)[None] * x, module(x))


@torch.no_grad()
def test_gac_multiplies_spikes_by_the_gate_whose_means_are_drawn():
    module, x = GAC(4, 8).eval(), torch.randn(4, 1, 8, 6, 6)
    gate = module(x, torch.ones_like(x))[:, 0]
    over_space, over_time = (torch.from_numpy(panel.values) for panel in read_gac(module, (x, None), None))
    torch.testing.assert_close(over_space, gate.mean((2, 3)))
    torch.testing.assert_close(over_time, gate.mean((0, 1)))


@torch.no_grad()
def test_self_attention_weighs_values_with_what_is_drawn():
    q, k, v = (torch.rand(1, 1, 1, 5, 4) for _ in range(3))
    module = SpikingAttention(0.5)
    (panel,) = read_self_attention(module, (q, k, v), None)
    torch.testing.assert_close(torch.from_numpy(panel.values) @ v, module(q, k, v))
