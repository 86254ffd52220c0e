import numpy as np
import pytest
from PIL import Image

from common.analysis.panels import SPACE, Panel, draw_panels


def test_all_panels_are_drawn_to_one_file(tmp_path):
    panels = [Panel(str(n), np.eye(n + 2), SPACE) for n in range(7)] + [Panel("bars", np.arange(4.0), ("gate", "step"))]
    path = draw_panels(panels, tmp_path / "panels.png", "title")
    assert Image.open(path).size[0] > Image.open(path).size[1] > 100


@pytest.mark.parametrize("from_zero", [False, True])
def test_a_silent_layer_can_be_drawn(from_zero, tmp_path):
    assert draw_panels([Panel("0", np.zeros((3, 3)), SPACE)], tmp_path / "0.png", "", from_zero=from_zero).exists()


def test_only_maps_of_space_are_turned():
    values = np.arange(6).reshape(2, 3)
    assert np.array_equal(Panel("", values, SPACE).turned().values, values.T)
    assert np.array_equal(Panel("", values, ("step", "channel")).turned().values, values)
