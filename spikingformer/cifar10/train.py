"""Train Spikingformer or a CML network on CIFAR10 with the settings of cifar10.yml."""

from functools import partial

from common.training import run
from spikingformer.static_training import CIFAR10, main

if __name__ == "__main__":
    run(partial(main, CIFAR10))
