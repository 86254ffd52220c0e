"""E-SpikeFormer on HAR-DVS, and on DVS128 Gesture and Gait (SDT V3, TPAMI 2025)."""

from common.training import run
from sdt_v3.train_events import main

if __name__ == "__main__":
    run(main)
