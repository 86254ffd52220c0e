import csv

import numpy as np
import torch
from torch import nn

from common.analysis.panels import SPACE
from common.neurons import IntegerLIF, LIFNode, ThresholdResetLIFNode
from tools.rasters import neuron_activity, raster_panels, rate_panels, write_rates


class Twice(nn.Module):
    """One neuron that serves two places."""

    def __init__(self):
        super().__init__()
        self.spike = LIFNode(tau=1.0)

    def forward(self, x):
        return self.spike(2 * self.spike(x))


def test_raster_holds_the_spikes_of_each_neuron_over_time():
    current = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])  # [T, neurons]; with tau 1 a current of 1 fires
    (activity,) = neuron_activity(nn.Sequential(LIFNode(tau=1.0)), current[:, None])
    assert np.array_equal(activity.raster, current.T)


def test_rate_map_is_the_mean_over_time_and_channels():
    current = (torch.rand(5, 1, 3, 4, 6) > 0.5).float()
    (activity,) = neuron_activity(nn.Sequential(LIFNode(tau=1.0)), current)
    np.testing.assert_allclose(activity.rate_map, current.mean((0, 1, 2)), rtol=1e-6)


def test_time_is_found_where_the_neuron_has_it():
    current = (torch.rand(1, 5, 3, 4, 6) > 0.5).float()
    (activity,) = neuron_activity(nn.Sequential(ThresholdResetLIFNode(alpha=0.0)), current)
    assert activity.shape == (3, 4, 6)
    np.testing.assert_allclose(activity.rate_map, current.mean((0, 1, 2)), rtol=1e-6)


def test_neurons_without_time_have_one_step():
    (activity,) = neuron_activity(nn.Sequential(IntegerLIF()), torch.ones(1, 3, 4, 4))
    assert activity.raster.shape == (48, 1)


def test_raster_shows_the_most_active_neurons():
    current = torch.tril(torch.ones(10, 10))[:, None]  # neuron n fires from step n on
    (activity,) = neuron_activity(nn.Sequential(LIFNode(tau=1.0)), current.flip(2), neurons=4)
    assert activity.raster.sum(1).tolist() == [10, 9, 8, 7]


def test_share_of_active_neurons_counts_those_that_ever_fired():
    current = torch.tensor([[1.0, 0, 0, 0], [1.0, 1, 0, 0]])
    (activity,) = neuron_activity(nn.Sequential(LIFNode(tau=1.0)), current[:, None])
    assert (activity.rate, activity.active) == (3 / 8, 1 / 2)


def test_calls_of_a_shared_neuron_are_told_apart():
    assert [one.name for one in neuron_activity(Twice(), torch.ones(2, 1, 3))] == ["spike", "spike, call 2"]


def test_hooks_are_gone_afterwards():
    model = Twice()
    neuron_activity(model, torch.ones(2, 1, 3))
    assert not model.spike._forward_hooks


def test_table_has_one_row_per_layer(tmp_path):
    activities = neuron_activity(nn.Sequential(LIFNode(tau=1.0)), torch.ones(2, 1, 3, 4, 6))
    with write_rates(activities, tmp_path / "rates.csv").open() as stream:
        assert list(csv.DictReader(stream)) == [{"layer": "0", "neurons": "3x4x6", "rate": "1", "active": "1"}]


def test_panels_know_their_axes():
    maps, vectors = torch.ones(2, 1, 3, 4, 6), torch.ones(2, 1, 5)
    spatial, flat = (neuron_activity(nn.Sequential(LIFNode()), x) for x in (maps, vectors))
    assert [panel.axes for panel in rate_panels(spatial + flat)] == [SPACE, ("rate", "neuron")]
    assert [panel.values.shape for panel in raster_panels(spatial + flat)] == [(72, 2), (5, 2)]
