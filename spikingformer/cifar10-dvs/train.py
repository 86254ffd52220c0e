"""Train Spikingformer or a CML network on CIFAR10-DVS with the settings that the authors published."""

from functools import partial

from common.training import run
from spikingformer.flags import CIFAR10_DVS
from spikingformer.train_events import main

if __name__ == "__main__":
    run(partial(main, CIFAR10_DVS))
