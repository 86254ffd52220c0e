"""Mask R-CNN on E-SpikeFormer, COCO (SDT V3, TPAMI 2025): trains a detector, or with --eval tests one."""

from common.training import run
from sdt_v3.train_detection import main

if __name__ == "__main__":
    run(main)
