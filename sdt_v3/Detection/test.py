"""Mask R-CNN on E-SpikeFormer, COCO (SDT V3, TPAMI 2025): tests a detector and draws what it finds."""

from functools import partial

from common.training import run
from sdt_v3.train_detection import main

if __name__ == "__main__":
    run(partial(main, testing=True))
