"""Train Att-MS-ResNet further from given weights, over a fifth of the epochs (MA-SNN, TPAMI 2023).

The original went on for all `EPOCH` epochs with a cosine of this length, so that the rate rose again twice:
`--epochs 250 --t-max 50` does that.
"""

from dataclasses import replace

from common.errors import UserError
from common.ms_resnet.trainer import main, parse
from common.training import run
from ma_snn.Att_Res_SNN import train_amp
from ma_snn.Att_Res_SNN.conf import global_settings as settings

PRESET = replace(train_amp.PRESET, epochs=settings.EPOCH // 5)


def finetune() -> None:
    """Train, if there is something to start from.

    Raises:
        UserError: there is not.
    """
    args = parse(PRESET)
    if not (args.weights or args.resume):
        raise UserError("train_finetune.py needs weights to start from: add --weights FILE; train_amp.py needs none")
    main(PRESET)


if __name__ == "__main__":
    run(finetune)
