"""Test given weights on CIFAR10: `test.py --resume FILE` prints loss, top-1 and top-5."""

from functools import partial

from common.training import run
from spikingformer.flags import CIFAR10
from spikingformer.train_images import main

if __name__ == "__main__":
    run(partial(main, CIFAR10, testing=True))
