"""Firing rates of the DVS networks on their test set (SDT V3, TPAMI 2025)."""

from common.training import run
from sdt_v3.firing import main

if __name__ == "__main__":
    run(main)
