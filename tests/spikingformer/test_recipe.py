"""Schedules and event frames of the recipe, as the libraries that the entry scripts call make them."""

import json

import numpy as np
import pytest
import timm.scheduler
import torch

from common.events.event import EVENT
from common.events.frames import frames_by_number
from tests.parity.harness import FOLDER, close, fixtures, load

SCHEDULES = json.loads((FOLDER / "spikingformer" / "lr_schedules.json").read_text())


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rate_of_every_epoch(name):
    k, expected = SCHEDULES[name]["args"], SCHEDULES[name]
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=k["lr"])
    rate = optimizer.param_groups[0]
    schedule, epochs = timm.scheduler.create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=k["epochs"],
        cooldown_epochs=k["cooldown_epochs"],
        min_lr=k["min_lr"],
        warmup_lr=k["warmup_lr"],
        warmup_epochs=k["warmup_epochs"],
    )
    rates = []
    for epoch in range(epochs):
        rates.append(rate["lr"])
        schedule.step(epoch + 1)
    assert epochs == expected["num_epochs"]
    close(rates, expected["lr"], "lr", rtol=0, atol=1e-12)


@pytest.mark.parametrize("file", fixtures("spikingformer", "data_event_frames_*"))
def test_event_frames_by_number(file):
    meta, expected = load(file)
    k, n, random = meta["kwargs"], meta["n"], np.random.RandomState(meta["seed"])
    events = np.empty(n, EVENT)
    events["t"] = np.sort(random.randint(0, 1_000_000, n))
    events["x"] = random.randint(0, 128, n)
    events["y"] = random.randint(0, 128, n)
    events["p"] = random.randint(0, 2, n)
    frames = frames_by_number(events, k["frames_number"], k["H"], k["W"]).ravel()
    assert np.array_equal(np.flatnonzero(frames), expected["index"])
    assert np.array_equal(frames[expected["index"]], expected["count"])
