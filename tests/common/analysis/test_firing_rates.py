import torch
from torch import nn

from common.analysis.firing_rates import firing_rates, watch_neurons
from common.neurons import LIFNode


def network():
    return nn.Sequential(LIFNode(), nn.Dropout(0.5), LIFNode(threshold=10.0))


def test_rate_is_the_mean_number_of_spikes_per_neuron_and_step():
    x = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    assert firing_rates(network(), x) == {"0": 0.5, "2": 0.0}


def test_mode_of_the_network_is_left_as_it_was():
    model = network().train()
    firing_rates(model, torch.ones(2, 2))
    assert model.training


def test_hooks_are_gone_after_an_error():
    model = network()
    try:
        with watch_neurons(model):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert not any(module._forward_hooks for module in model.modules())
