"""Att-MS-ResNet on ImageNet, with the settings that the authors published (MA-SNN, TPAMI 2023)."""

from functools import partial

import ma_snn  # noqa: F401  registers the networks with timm
from common.ms_resnet.trainer import TINY, Preset, main
from common.training import run
from ma_snn.Att_Res_SNN.conf import global_settings as settings
from ma_snn.models.att_ms_resnet import ATTENTIONS

PRESET = Preset(
    nets={f"resnet{depth}": f"att_ms_resnet{depth}" for depth in (18, 34, 104)},
    T=1,
    epochs=settings.EPOCH,
    batch_size=100,
    workers=16,
    find_unused_parameters=True,
    tiny=TINY | {"img_size": 64, "epochs": 16},  # its 7 x 7 stem leaves nothing of smaller images
    flags=("--end_early",),
    without_effect=("-warm",),
    model_flags={"--attention": {"choices": ATTENTIONS, "default": "CSA", "help": "published code has CSA only"}},
    checkpoint_path=settings.CHECKPOINT_PATH,
    log_dir=settings.LOG_DIR,
    tag="ImageNet_T=1ACC",
    time_now=settings.TIME_NOW,
    save_epoch=settings.SAVE_EPOCH,
)

if __name__ == "__main__":
    run(partial(main, PRESET))
