import math

import pytest
import torch

from common.training import cosine


def rates(period, epochs, **options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = cosine(optimizer, period, **options)
    values = []
    for _ in range(epochs):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def test_epoch_e_runs_at_the_closed_form():
    assert rates(200, 200) == [pytest.approx(0.05 * (1 + math.cos(math.pi * e / 200))) for e in range(200)]


def test_the_first_epoch_has_the_full_rate():
    assert rates(200, 1) == [0.1]


def test_with_offset_the_schedule_is_one_epoch_ahead_and_ends_at_zero():
    values = rates(250, 250, offset=1)
    assert values == [pytest.approx(0.05 * (1 + math.cos(math.pi * e / 250)), abs=1e-15) for e in range(1, 251)]
    assert values[-1] == 0.0


def test_beyond_its_period_the_rate_rises_again():
    assert rates(50, 101)[100] == pytest.approx(0.1)
