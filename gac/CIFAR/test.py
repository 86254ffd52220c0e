"""Test accuracy of GAC-MS-ResNet18 weights on CIFAR100 or CIFAR10."""

from functools import partial

from common.training import run
from gac.train_images import main

if __name__ == "__main__":
    run(partial(main, testing=True))
