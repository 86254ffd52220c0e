"""The other codings equal the original's, step by step and as whole spike trains."""

from functools import partial

import pytest
import torch

from common.errors import UserError
from gac.encoders import ENCODERS, latency, poisson, weighted_phase
from tests.parity.harness import fixtures, load

FILES = fixtures("gac", "mod_encoders_*")
CODINGS = {"latency_linear": latency, "latency_log": partial(latency, kind="log"), "phase": weighted_phase}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("file", FILES)
def test_spike_train_equals_the_original(file, coding):
    meta, expected = load(file)
    assert torch.equal(CODINGS[coding](expected["x"], meta["T"]), expected[coding])


@pytest.mark.parametrize("file", FILES)
def test_poisson_equals_the_original(file):
    meta, expected = load(file)
    torch.manual_seed(123)
    assert torch.equal(poisson(expected["x"], meta["T"]), expected["poisson"])


@pytest.mark.parametrize("coding", ENCODERS)
def test_normalised_pixels_are_refused(coding):
    with pytest.raises(UserError, match=r"pixels in \[0, 1\], got -1 to 1"):
        ENCODERS[coding](torch.tensor([-1.0, 1.0]), 4)


def test_unknown_latency_is_refused():
    with pytest.raises(ValueError, match="one of linear, log"):
        latency(torch.zeros(1), 4, "cubic")
