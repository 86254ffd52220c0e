"""GAC-MS-ResNet on ImageNet, with the settings that the authors published (GAC, AAAI 2024)."""

from functools import partial

import torch

import gac  # noqa: F401  registers the networks with timm
from common.ms_resnet.files import every_best
from common.ms_resnet.trainer import TINY, Preset, main
from common.training import run
from gac.ImageNet.conf import global_settings as settings

PRESET = Preset(
    nets={"resnet18": "gac_ms_resnet18", "resnet34": "gac_ms_resnet34"},
    T=4,
    epochs=settings.EPOCH,
    workers=16,
    reduce_output=partial(torch.mean, dim=1),  # the network's output is [B, T, K]
    flags=("--beta", "--cutmix_prob"),
    model_flags={"--kernel-size": {"type": int, "default": 4, "help": "of the gate's spatial convolutions"}},
    tiny=TINY | {"cutmix_prob": 0.2},
    checkpoint_path=settings.CHECKPOINT_PATH,
    log_dir=settings.LOG_DIR,
    time_now=settings.TIME_NOW,
    save_epoch=settings.SAVE_EPOCH,
    rule=every_best,
    iterations=False,
)

if __name__ == "__main__":
    run(partial(main, PRESET))
