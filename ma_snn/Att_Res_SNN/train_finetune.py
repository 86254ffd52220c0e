"""Train Att-MS-ResNet further from `--weights`, or else from scratch, over a fifth of the epochs (MA-SNN, TPAMI 2023).

The original loads no weights, and went on for all `EPOCH` epochs with a cosine of this length, so that the rate rose
again twice: `--epochs 250 --t-max 50` does that.
"""

from dataclasses import replace
from functools import partial

from common.ms_resnet.trainer import main
from common.training import run
from ma_snn.Att_Res_SNN import train_amp
from ma_snn.Att_Res_SNN.conf import global_settings as settings

PRESET = replace(train_amp.PRESET, epochs=settings.EPOCH // 5, goes_on=True)

if __name__ == "__main__":
    run(partial(main, PRESET))
