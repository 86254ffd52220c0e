"""MA-SNN with LIAF neurons on CIFAR10-DVS, with the settings of CNN/Config.py (TPAMI 2023)."""

from dataclasses import replace
from functools import partial

from common.training import run
from ma_snn.CIFAR10DVS import Att_SNN
from ma_snn.train_events import main

RECIPE = replace(Att_SNN.RECIPE, mode_select="mem", log="log_CIFAR10_SNN_LIAF.txt")

if __name__ == "__main__":
    run(partial(main, RECIPE))
