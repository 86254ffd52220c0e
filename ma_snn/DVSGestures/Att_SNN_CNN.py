"""MA-SNN with LIF neurons on DVS128 Gesture, with the settings of CNN/Config.py (TPAMI 2023)."""

from functools import partial

from common.training import run
from ma_snn.data.dvs_gesture_hdf5 import DVSGestureHDF5, write_tiny_gesture
from ma_snn.DVSGestures.CNN.Config import configs
from ma_snn.flags import Recipe
from ma_snn.train_events import main

RECIPE = Recipe(
    configs=configs,
    model="ma_snn_dvsgestures",
    dataset=DVSGestureHDF5,
    mode_select=None,
    title="DVS-Gesture",
    log="log_DVS_Gesture_SNN.txt",
    write_tiny=write_tiny_gesture,
    tiny={
        "T": 6,
        "dt": 50,
        "clip": 3,
        "lr": 1e-2,
        "num_work": 0,
        "width": 0.25,
        "num_epochs": 12,
        "batch_size": 16,
        "batch_size_test": 60,
    },
)

if __name__ == "__main__":
    run(partial(main, RECIPE))
