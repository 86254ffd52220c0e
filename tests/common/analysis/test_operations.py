"""Operation counting: what is spikes, what each layer costs, which layers are seen."""

import pytest
import torch
from torch import nn

from common.analysis.operations import attention_operations, count_operations, spike_rate
from common.layers import SpikingAttention
from common.neurons import IntegerLIF, LIFNode


@pytest.mark.parametrize(
    "values, rate",
    [
        ([0.0, 1.0, 1.0, 0.0], 0.5),
        ([0.0, 0.0], 0.0),
        ([1.0, 1.0], 1.0),
        ([0.0, 1.0, 2.0], None),
        ([0.0, 0.5, 1.0], None),
        ([-1.0, 0.0], None),
    ],
)
def test_at_most_two_values_within_0_and_1_are_spikes(values, rate):
    assert spike_rate(torch.tensor(values)) == rate


@pytest.mark.parametrize(
    "values, rate", [([0.0, 0.25, 1.0, 0.75], 2.0), ([0.0, 0.3], None), ([0.0, 1.25], None), ([-0.25, 0.0], None)]
)
def test_multiples_of_one_over_the_norm_are_integer_spikes(values, rate):
    assert spike_rate(torch.tensor(values), (4, 4)) == rate


def only(model, x, **kwargs):
    (layer,) = [layer for layer in count_operations(model, [x], **kwargs) if layer.kind != "neuron"]
    return layer


def test_a_dense_input_makes_macs():
    layer = only(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)), torch.randn(2, 3, 4, 4))
    assert (layer.operations, layer.mac, layer.ac, layer.dense) == (8 * 16 * 28, 8 * 16 * 28, 0, True)


def test_grouped_convolution_costs_only_the_channels_of_its_group():
    layer = only(nn.Sequential(nn.Conv1d(8, 8, 3, padding=1, groups=4, bias=False)), torch.randn(2, 8, 5))
    assert layer.operations == 8 * 5 * 2 * 3


def test_spikes_make_additions_in_proportion_to_their_rate():
    layer = only(nn.Linear(4, 5, bias=False), torch.tensor([[1.0, 0, 0, 0], [1.0, 1, 0, 0]]))
    assert (layer.operations, layer.ac, layer.mac, layer.rates) == (20, 20 * 3 / 8, 0, (3 / 8,))


def test_integer_spikes_add_once_each():
    network = nn.Sequential(IntegerLIF(4, norm=4), nn.Linear(4, 5, bias=False))
    layer = only(network, torch.tensor([[0.0, 1.0, 3.0, 4.0]]))
    assert (layer.rates, layer.ac) == ((2.0,), 5 * 8)


def test_a_neuron_that_stays_silent_leaves_no_addition():
    layer = only(nn.Sequential(LIFNode(), nn.Linear(3, 5, bias=False)), torch.zeros(4, 2, 3), batch_dim=1)
    assert (layer.operations, layer.ac, layer.mac) == (4 * 15, 0, 0)


def test_operations_are_per_sample_over_all_batches():
    layers = count_operations(nn.Linear(3, 5, bias=False), [torch.randn(2, 3), torch.randn(6, 3)])
    assert layers[0].operations == 15


def test_rate_is_the_mean_over_batches():
    layers = count_operations(nn.Linear(2, 1), [torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])])
    assert layers[0].rates == (0.75,)


@pytest.mark.parametrize("tokens, width", [(16, 4), (4, 16)])
def test_attention_counts_the_order_that_is_run(tokens, width):
    layer = attention_operations("a", 2, 3, tokens, width, (0.5, 0.2, 0.1))
    inner, outer = (0.1, 0.5) if tokens > width else (0.2, 0.1)
    each = 2 * 3 * tokens * width * min(tokens, width)
    assert layer.operations == 2 * each
    assert layer.ac == pytest.approx(each * inner + each * outer)


def test_attention_is_seen_in_a_network():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.product = SpikingAttention()

        def forward(self, x):
            return self.product(x, x, x)

    layer = only(Net(), torch.ones(4, 2, 3, 16, 8), batch_dim=1)
    assert (layer.name, layer.operations, layer.rates) == ("product", 2 * 4 * 3 * 16 * 8 * 8, (1.0, 1.0, 1.0))


def test_layers_that_do_not_run_are_left_out():
    assert count_operations(nn.Sequential(nn.ReLU()), [torch.ones(1)]) == []


def test_hooks_are_gone_afterwards():
    model = nn.Linear(2, 2)
    with pytest.raises(RuntimeError):
        count_operations(model, [torch.ones(1, 3)])
    assert not model._forward_hooks
