"""MA-SNN with LIAF neurons on DVS128 Gesture, with the settings of CNN/Config.py (TPAMI 2023)."""

from dataclasses import replace
from functools import partial

from common.training import run
from ma_snn.DVSGestures import Att_SNN_CNN
from ma_snn.train_events import main

RECIPE = replace(Att_SNN_CNN.RECIPE, mode_select="mem", log="log_DVS_Gesture_SNN_LIAF.txt")

if __name__ == "__main__":
    run(partial(main, RECIPE))
