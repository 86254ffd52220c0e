"""Train Spikingformer or a CML network on DVS128 Gesture with the settings that the authors published."""

from functools import partial

from common.training import run
from spikingformer.flags import DVS128_GESTURE
from spikingformer.train_events import main

if __name__ == "__main__":
    run(partial(main, DVS128_GESTURE))
