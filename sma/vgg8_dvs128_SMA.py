"""SMA-VGG8 on DVS128 Gesture, with the settings that the authors published (SMA, AAAI 2025)."""

from functools import partial

import torch

from common.training import mse_one_hot, run
from sma.flags import Recipe
from sma.train_events import main

RECIPE = Recipe(
    script="vgg8_dvs128_SMA",
    model="sma_vgg8_dvs128",
    dataset="dvs128",
    data_folder="DVS128Gesture",
    T=16,
    batch_size=9,
    lr=1e-4,
    epochs=200,
    seed=3401,
    optimizer=partial(torch.optim.AdamW, weight_decay=1e-3),
    loss_fn=mse_one_hot,
)

if __name__ == "__main__":
    run(partial(main, RECIPE))
