"""Top-1 and top-5 accuracy of Att-MS-ResNet weights on ImageNet."""

from functools import partial

from common.ms_resnet.trainer import test
from common.training import run
from ma_snn.Att_Res_SNN.train_amp import PRESET

if __name__ == "__main__":
    run(partial(test, PRESET))
