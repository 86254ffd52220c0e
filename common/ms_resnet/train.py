"""MS-ResNet on ImageNet: `python -m common.ms_resnet.train -net resnet34` (arXiv 2112.08954)."""

from functools import partial

from common.ms_resnet.trainer import MS_RESNET, main
from common.training import run

if __name__ == "__main__":
    run(partial(main, MS_RESNET))
