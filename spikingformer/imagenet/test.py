"""Test given weights on ImageNet: `test.py --resume FILE` prints loss, top-1 and top-5."""

from functools import partial

from common.training import run
from spikingformer.flags import IMAGENET
from spikingformer.train_images import main

if __name__ == "__main__":
    run(partial(main, IMAGENET, testing=True))
