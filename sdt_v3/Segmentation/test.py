"""Semantic FPN on E-SpikeFormer, ADE20K (SDT V3, TPAMI 2025): tests a segmentor and draws what it finds."""

from functools import partial

from common.training import run
from sdt_v3.train_segmentation import main

if __name__ == "__main__":
    run(partial(main, testing=True))
