"""SMA-VGG8 on CIFAR10-DVS, with the settings that the authors published (SMA, AAAI 2025)."""

from functools import partial
from typing import TYPE_CHECKING

import torch

from common.training import mse_one_hot, run
from sma.flags import Recipe
from sma.train_events import main

if TYPE_CHECKING:
    from torchvision.transforms import v2


def augmentation() -> "v2.Transform":
    """One draw per recording, shared by its frames; 5 pixels of the 128 of the sensor."""
    from torchvision.transforms import v2

    return v2.Compose([v2.RandomHorizontalFlip(), v2.RandomAffine(0, translate=(5 / 128, 5 / 128))])


RECIPE = Recipe(
    script="vgg8_cifar10dvs_SMA",
    model="sma_vgg8_cifar10dvs",
    dataset="cifar10dvs",
    data_folder="cifar10dvs",
    T=10,
    batch_size=24,
    lr=1e-3,
    epochs=200,
    seed=3404,
    optimizer=torch.optim.Adam,
    loss_fn=mse_one_hot,
    augmentation=augmentation,
)

if __name__ == "__main__":
    run(partial(main, RECIPE))
