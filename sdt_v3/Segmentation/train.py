"""Semantic FPN on E-SpikeFormer, ADE20K (SDT V3, TPAMI 2025): trains a segmentor, or with --eval tests one."""

from common.training import run
from sdt_v3.train_segmentation import main

if __name__ == "__main__":
    run(main)
