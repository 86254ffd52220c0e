"""Train Spikingformer or a CML network on CIFAR10 with the settings of cifar10.yml."""

from functools import partial

from common.training import run
from spikingformer.flags import CIFAR10
from spikingformer.train_images import main

if __name__ == "__main__":
    run(partial(main, CIFAR10))
