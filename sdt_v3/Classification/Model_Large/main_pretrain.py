"""E-SpikeFormer, large family: pretraining as a masked autoencoder on ImageNet (SDT V3, TPAMI 2025)."""

from common.training import run
from sdt_v3.pretrain import main

if __name__ == "__main__":
    run(main)
