"""Top-1 and top-5 accuracy of Att-MS-ResNet weights on ImageNet."""

from functools import partial

from common.training import run
from common.training.imagenet import test
from ma_snn.Att_Res_SNN.train_amp import PRESET

if __name__ == "__main__":
    run(partial(test, PRESET))
