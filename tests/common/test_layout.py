"""Every network takes what its layout says."""

import pytest
import timm
import torch

from common.errors import UserError
from common.layout import Layout
from tools.papers import family_of, networks

VGG8 = Layout("t b c h w", 2, (180, 240), T=14)
EITHER = Layout("b c h w", 3, (32, 32), T=4, also=("b t c h w",))


@pytest.mark.parametrize("name", networks())
@torch.no_grad()
def test_a_batch_of_the_stated_shape_is_taken(name):
    model = timm.create_model(name, **family_of(name).small).eval()
    output = model(torch.rand(model.layout.shape(2)))
    if "mae" not in name:
        assert (output.shape[1] if model.layout.batch_axis else len(output)) == 2


@pytest.mark.parametrize("name", networks())
def test_steps_and_channels_are_those_of_the_network(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    first = next(module for module in model.modules() if isinstance(module, torch.nn.Conv2d))
    assert model.layout.channels == first.in_channels
    assert model.layout.T in (None, getattr(model, "T", 8))


def test_a_shape_has_its_axes_in_order():
    assert VGG8.shape(3) == (14, 3, 2, 180, 240)
    assert VGG8.batch_axis == 1


def test_x_before_y_turns_a_sample():
    frames = torch.rand(4, 2, 5, 7)
    batch, x_first = Layout("b t c w h", 2, (7, 7), T=4).arranged(frames, "Net")
    assert x_first
    assert torch.equal(batch, frames.mT[None])


def test_a_sample_chooses_among_several_orders():
    image, frames = torch.rand(3, 32, 32), torch.rand(4, 3, 32, 32)
    assert [EITHER.arranged(sample, "Net")[0].shape for sample in (image, frames)] == [
        (1, *image.shape),
        (1, *frames.shape),
    ]


@pytest.mark.parametrize(
    "layout, shape, message",
    [
        (VGG8, (2, 180, 240), r"Net takes frames \[T, C, H, W\], but the sample is \[2, 180, 240\]"),
        (Layout("b c h w", 3, (32, 32)), (4, 3, 32, 32), r"Net takes an image \[C, H, W\]"),
    ],
)
def test_another_kind_of_sample_is_refused(layout, shape, message):
    with pytest.raises(UserError, match=message):
        layout.arranged(torch.zeros(shape), "Net")
