"""Recordings become the frames of the authors' loaders."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from common.errors import UserError
from common.events.event import pack
from sdt_v3.data.hardvs import clip_frames, polarity_maps
from sdt_v3.data.windows import frames_of_window
from tests.parity.harness import FOLDER, load


def recording(seed, n, span):
    r = np.random.RandomState(seed)
    t = np.sort(r.randint(0, span, n))
    return pack(t, r.randint(0, 128, n), r.randint(0, 128, n), r.randint(0, 2, n))


def test_event_frames_equal_the_original():
    meta, expected = load(FOLDER / "sdt_v3" / "dvs_events_T8_ds4.npz")
    k, drawn = meta["kwargs"], meta["input"]
    events = recording(drawn["seed"], drawn["n"], drawn["span"])
    frames = torch.from_numpy(frames_of_window(events, k["T"], k["dt"], factor=k["ds"]))
    assert torch.equal(frames.sum((1, 2, 3)).double(), expected["frames_t"])
    assert torch.equal(frames[0].double(), expected["frames_first"])
    assert frames.sum() == expected["total"]


@given(st.integers(1, 12), st.integers(1, 40_000))
def test_every_event_of_the_window_is_counted_once(T, duration):
    events = recording(0, 200, 150_000)
    within = (events["t"] - events["t"][0]) < T * duration
    assert frames_of_window(events, T, duration).sum() == within.sum()


def test_an_empty_window_is_refused():
    with pytest.raises(UserError, match="holds no events"):
        frames_of_window(recording(0, 0, 1), 4)


def test_events_outside_the_sensor_are_refused():
    with pytest.raises(UserError, match="outside the sensor of 64 x 64"):
        frames_of_window(recording(0, 200, 1000), 4, size=64)


def random_images(count):
    r = np.random.RandomState(5)
    return [Image.fromarray(r.randint(0, 256, (260, 346, 3)).astype(np.uint8)) for _ in range(count)]


def test_hardvs_frames_equal_the_original():
    _, expected = load(FOLDER / "sdt_v3" / "hardvs_frames.npz")
    frames = clip_frames(random_images(4), T=6).double()
    pixels = 1 / frames[0, 0].numel()
    difference = (frames.mean((2, 3)) - expected["mean"]).abs()
    assert difference.max() <= 2 * pixels  # Pillow's bicubic may move single pixels across a threshold
    assert torch.equal(frames[0, :, ::16, ::16], expected["rows"])


def test_grey_values_choose_the_map():
    grey = Image.new("L", (16, 16))
    grey.putdata([(20, 60, 100, 200)[i % 4] for i in range(256)])
    maps = polarity_maps(grey, 16, 16)
    assert maps[:, 0, :4].tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_flipped_frames_are_mirrored():
    images = random_images(2)
    assert torch.equal(clip_frames(images, 2, flip=lambda: True), clip_frames(images, 2).flip(-1))
