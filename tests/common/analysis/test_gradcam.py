"""Grad-CAM takes every layout of logits and maps that the networks here have."""

import numpy as np
import pytest
import torch
from torch import nn

from common.analysis.gradcam import grad_cam, overlay
from common.errors import UserError


class Toy(nn.Module):
    """Maps of one channel that are the image and its negative, whose means are the logits of three steps."""

    def __init__(self, logits):
        super().__init__()
        self.maps = nn.Conv2d(1, 2, 1, bias=False)
        self.maps.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
        self.layout = logits

    def forward(self, image):
        pooled = self.maps(image).mean((2, 3))
        steps = pooled.expand(3, *pooled.shape)
        return {"[B, K]": steps.mean(0), "[T, B, K]": steps, "[B, T, K]": steps.transpose(0, 1)}[self.layout]


IMAGE = torch.tensor([[[[3.0, -1.0], [0.0, 0.0]]]])


@pytest.mark.parametrize("layout", ["[B, K]", "[T, B, K]", "[B, T, K]"])
def test_every_layout_of_logits_gives_the_map_of_the_predicted_class(layout):
    cam = grad_cam(Toy(layout), IMAGE, "maps")
    assert cam.target == 0
    torch.testing.assert_close(cam.map, IMAGE[0, 0] / 4)


def test_a_class_may_be_named():
    torch.testing.assert_close(grad_cam(Toy("[B, K]"), IMAGE, "maps", target=1).map, -IMAGE[0, 0] / 4)


@pytest.mark.parametrize(
    ("layer", "target", "message"),
    [
        ("conv9", None, "no layer 'conv9'; name one of its modules, at the top level maps"),
        ("", None, "layer '' gave no maps"),
        ("maps", 2, "class 2 does not exist: the network has the classes 0 to 1"),
    ],
)
def test_a_mistake_is_named(layer, target, message):
    with pytest.raises(UserError, match=message):
        grad_cam(Toy("[B, K]"), IMAGE, layer, target)


def test_overlay_is_red_where_the_evidence_is_and_keeps_an_oblong_shape():
    cam = torch.zeros(2, 4)
    cam[0, 3] = 1.0
    result = overlay(cam, np.zeros((20, 40, 3), np.uint8))
    assert result.shape == (20, 40, 3)
    red, green, blue = result[0, -1].tolist()
    assert red > 100 > max(green, blue)


def test_overlay_of_no_evidence_is_defined():
    assert overlay(torch.zeros(2, 2), np.zeros((4, 4, 3), np.uint8)).any()
