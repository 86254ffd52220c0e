"""MA-SNN with LIF neurons on DVS128-Gait, with the settings of CNN/Config.py (TPAMI 2023)."""

from functools import partial

from common.datasets.dvs_gait import DVSGait
from common.tiny.events import write_tiny_gait
from common.training import run
from ma_snn.DVSGait.CNN.Config import configs
from ma_snn.flags import Recipe
from ma_snn.train_events import main

RECIPE = Recipe(
    configs=configs,
    model="ma_snn_dvsgait",
    dataset=DVSGait,
    mode_select=None,
    title="DVS-Gesture",
    log="log_DVS_Gesture_SNN.txt",
    write_tiny=write_tiny_gait,
    tiny={
        "T": 4,
        "dt": 75,
        "ds": 2,
        "lr": 1e-2,
        "a": 2.0,
        "lens": 1.0,
        "num_work": 0,
        "width": 0.25,
        "num_epochs": 20,
        "batch_size": 16,
        "batch_size_test": 60,
    },
)

if __name__ == "__main__":
    run(partial(main, RECIPE))
