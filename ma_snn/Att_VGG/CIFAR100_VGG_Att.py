"""Train Att-VGG-SNN, the spiking VGG with channel and spatial attention, on CIFAR100 (MA-SNN, TPAMI 2023)."""

from functools import partial

from common.training import run
from ma_snn.Att_VGG.flags import Recipe
from ma_snn.train_images import main

RECIPE = Recipe("cifar100", attention="CSA")

if __name__ == "__main__":
    run(partial(main, RECIPE))
