"""The other codings equal the original's, step by step and as whole spike trains."""

from functools import partial

import pytest
import torch

from common.errors import UserError
from gac.encoders import ENCODERS, StatefulEncoder, latency, periodic, poisson, weighted_phase
from tests.parity.harness import fixtures, load
from tests.parity.seeded import seeded_input

FILES = fixtures("gac", "mod_encoders_*")
CODINGS = {"latency_linear": latency, "latency_log": partial(latency, kind="log"), "phase": weighted_phase}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("file", FILES)
def test_spike_train_equals_the_original(file, coding):
    meta, expected = load(file)
    assert torch.equal(CODINGS[coding](expected["x"], meta["T"]), expected[coding])


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("file", FILES)
def test_stateful_encoder_ignores_its_input_until_reset(file, coding):
    meta, expected = load(file)
    x, T = expected["x"], meta["T"]
    encoder = StatefulEncoder(partial(CODINGS[coding], T=T))
    first = torch.stack([encoder(x) for _ in range(T)])
    again = torch.stack([encoder(1 - x) for _ in range(2)])
    encoder.reset()
    fresh = torch.stack([encoder(1 - x) for _ in range(T)])
    assert torch.equal(first, expected[coding])
    assert torch.equal(again, expected[f"{coding}_again"])
    assert torch.equal(fresh, expected[f"{coding}_reset"])


@pytest.mark.parametrize("file", FILES)
def test_poisson_equals_the_original(file):
    meta, expected = load(file)
    torch.manual_seed(123)
    assert torch.equal(poisson(expected["x"], meta["T"]), expected["poisson"])


@pytest.mark.parametrize("file", FILES)
def test_periodic_equals_the_original(file):
    meta, expected = load(file)
    pattern = torch.from_numpy(seeded_input("image", (3, 5), meta["T"])) > 0
    assert torch.equal(periodic(pattern.double(), meta["T"]), expected["periodic"])


@pytest.mark.parametrize("coding", ENCODERS)
def test_normalised_pixels_are_refused(coding):
    with pytest.raises(UserError, match=r"pixels in \[0, 1\], got -1 to 1"):
        ENCODERS[coding](torch.tensor([-1.0, 1.0]), 4)


def test_unknown_latency_is_refused():
    with pytest.raises(ValueError, match="one of linear, log"):
        latency(torch.zeros(1), 4, "cubic")
