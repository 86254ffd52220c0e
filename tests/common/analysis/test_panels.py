import numpy as np
import pytest
from PIL import Image

from common.analysis import panels
from common.analysis.panels import SPACE, Panel, draw_panels


def test_all_panels_are_drawn_to_one_file(tmp_path):
    parts = [Panel(str(n), np.eye(n + 2), SPACE) for n in range(7)] + [Panel("bars", np.arange(4.0), ("gate", "step"))]
    path = draw_panels(parts, tmp_path / "panels.png", "title")
    assert Image.open(path).size[0] > Image.open(path).size[1] > 100


@pytest.mark.parametrize("from_zero", [False, True])
def test_a_silent_layer_can_be_drawn(from_zero, tmp_path):
    assert draw_panels([Panel("0", np.zeros((3, 3)), SPACE)], tmp_path / "0.png", "", from_zero=from_zero).exists()


@pytest.fixture
def figure(monkeypatch):
    """The figure that `draw_panels` would write."""
    monkeypatch.setattr(panels, "save_figure", lambda figure, path: figure)
    return lambda *given, **style: draw_panels(given, "", "", from_zero=True, **style)


def test_a_raster_is_black_ticks_without_a_colour_bar(figure):
    spikes = np.array([[1, 0, 1], [0, 0, 1]])
    (axes,) = figure(Panel("spikes", spikes, ("neuron", "step")), ticks=True).axes
    (ticks,) = axes.collections
    assert len(ticks.get_segments()) == spikes.sum()
    assert ticks.get_colors().tolist() == [[0, 0, 0, 1]]
    raster, _bar = figure(Panel("integers", 3 * spikes, ("neuron", "step")), ticks=True).axes
    assert raster.images


def test_a_panel_without_a_spike_says_so(figure):
    for values, axes in ((np.zeros((4, 3)), SPACE), (np.zeros(5), ("rate", "neuron"))):
        (drawn,) = figure(Panel("", values, axes)).axes
        assert [text.get_text() for text in drawn.texts] == ["no spike"]


def test_only_maps_of_space_are_turned():
    values = np.arange(6).reshape(2, 3)
    assert np.array_equal(Panel("", values, SPACE).turned().values, values.T)
    assert np.array_equal(Panel("", values, ("step", "channel")).turned().values, values)
