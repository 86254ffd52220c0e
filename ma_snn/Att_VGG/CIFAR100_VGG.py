"""Train the spiking VGG without attention on CIFAR100, as Att-VGG-SNN is compared with (MA-SNN, TPAMI 2023)."""

from functools import partial

from common.training import run
from ma_snn.Att_VGG.flags import Recipe
from ma_snn.train_images import main

RECIPE = Recipe("cifar100", attention="no")

if __name__ == "__main__":
    run(partial(main, RECIPE))
