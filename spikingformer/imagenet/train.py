"""Train Spikingformer or a CML network on ImageNet with the settings of imagenet.yml."""

from functools import partial

from common.training import run
from spikingformer.flags import IMAGENET
from spikingformer.train_images import main

if __name__ == "__main__":
    run(partial(main, IMAGENET))
