"""MA-SNN with LIF neurons on CIFAR10-DVS, with the settings of CNN/Config.py (TPAMI 2023)."""

from functools import partial

from common.training import run
from ma_snn.CIFAR10DVS.CNN.Config import configs
from ma_snn.data.cifar10_dvs_mat import CIFAR10DVSMat, write_tiny_cifar10dvs
from ma_snn.flags import Recipe
from ma_snn.train_events import main

RECIPE = Recipe(
    configs=configs,
    model="ma_snn_cifar10dvs",
    dataset=CIFAR10DVSMat,
    mode_select=None,
    title="DVS-CIFAR10",
    log="log_CIFAR10_DVS_SNN.txt",
    write_tiny=write_tiny_cifar10dvs,
    tiny={
        "T": 4,
        "dt": 75,
        "clip": 3,
        "ds": 2,
        "lr": 5e-3,
        "a": 2.0,
        "lens": 1.0,
        "num_workers": 0,
        "width": 0.25,
        "num_epochs": 20,
        "batch_size": 16,
        "batch_size_test": 60,
    },
)

if __name__ == "__main__":
    run(partial(main, RECIPE))
