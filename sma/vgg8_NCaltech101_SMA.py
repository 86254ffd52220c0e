"""SMA-VGG8 on N-Caltech101 or any folder of ATIS recordings, with the published settings (SMA, AAAI 2025)."""

from functools import partial

import torch

from common.training import run, tet_cross_entropy
from sma.flags import Recipe
from sma.train_events import main

RECIPE = Recipe(
    script="vgg8_NCaltech101_SMA",
    model="sma_vgg8_ncaltech101",
    dataset="ncaltech101",
    data_folder="NCaltech101",
    T=14,
    batch_size=6,
    lr=1e-3,
    epochs=300,
    seed=3402,
    optimizer=partial(torch.optim.NAdam, momentum_decay=1e-3),
    loss_fn=tet_cross_entropy,
    pin_memory=False,
    tiny_downsample=5,
)

if __name__ == "__main__":
    run(partial(main, RECIPE))
