"""timm's policies run at every magnitude that they reach."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment

from common.datasets.timm_transforms import create_transform


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("name", ["Posterize", "PosterizeIncreasing", "PosterizeOriginal"])
def test_no_bits_are_black_and_eight_change_nothing(name, mode):
    create_transform(32, is_training=True, auto_augment="rand-m9-mstd0.5-inc1")
    picture = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert(mode)
    posterize = auto_augment.NAME_TO_OP[name]
    assert np.asarray(posterize(picture, 0)).max() == 0
    assert np.asarray(posterize(picture, 1)).max() == 128
    assert np.array_equal(posterize(picture, 8), picture)


def test_the_strongest_policy_runs_on_many_pictures():
    transform = create_transform(32, is_training=True, auto_augment="rand-m10-n4-inc1")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    assert all(transform(picture).shape == (3, 32, 32) for _ in range(200))
