"""Properties of the gate that no fixture shows."""

import pytest
import timm
import torch

import gac  # noqa: F401  (registers the models)
from common.errors import UserError
from gac.models.gau import GAC, SameConv2d


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_equal_steps_may_be_given_once():
    gate = GAC(4, 3).double()
    drive = torch.randn(1, 2, 3, 5, 5, dtype=torch.float64)
    spikes = (torch.randn(4, 2, 3, 5, 5, dtype=torch.float64) > 0).double()
    torch.testing.assert_close(gate(drive, spikes), gate(drive.expand(4, -1, -1, -1, -1), spikes), rtol=1e-13, atol=0)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel_size", [3, 4, 8])
def test_same_padding_is_that_of_torch(kernel_size):
    ours = SameConv2d(2, 2, kernel_size)
    theirs = torch.nn.Conv2d(2, 2, kernel_size, padding="same")
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 2, 9, 7)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("name", ["gac_ms_resnet18_cifar", "gac_ms_resnet18"])
def test_one_step_is_refused_with_the_reason(name):
    with pytest.raises(UserError, match="T of at least 2, got T=1"):
        timm.create_model(name, T=1)


@pytest.mark.parametrize(("T", "count"), [(2, 131_076), (3, 131_078), (4, 131_088), (5, 131_092), (6, 131_108)])
def test_parameters_of_the_published_gate(T, count):
    with torch.device("meta"):
        gate = GAC(T, 64)
    assert sum(p.numel() for p in gate.parameters()) == count
