"""SMA-ResNet on ImageNet, with the settings that the authors published (SMA, AAAI 2025)."""

import argparse
from functools import partial

import sma  # noqa: F401  registers the networks with timm
from common.ms_resnet.trainer import Preset, main
from common.training import run
from sma.conf import global_settings as settings

PRESET = Preset(
    nets={f"resnet{depth}": f"sma_resnet{depth}" for depth in (18, 34, 104)},
    epochs=settings.EPOCH,
    weight_decay=1e-4,
    workers=70,
    model_flags={
        "--azo": {
            "dest": "AZO",
            "action": argparse.BooleanOptionalAction,
            "default": False,
            "help": "attention ZoneOut in training; off in the published code, although the paper reports it on",
        },
        "--azo-version": {"choices": ("parallel", "loop"), "default": "parallel", "help": "which of the two versions"},
    },
    checkpoint_path=settings.CHECKPOINT_PATH,
    log_dir=settings.LOG_DIR,
    time_now=settings.TIME_NOW,
    save_epoch=settings.SAVE_EPOCH,
)

if __name__ == "__main__":
    run(partial(main, PRESET))
