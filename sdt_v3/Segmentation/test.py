"""Semantic FPN on E-SpikeFormer, ADE20K (SDT V3, TPAMI 2025): tests a segmentor and draws what it finds."""

from common.training import run


def main() -> None:
    """Import what a test needs only when it begins."""
    from sdt_v3.train_segmentation import main

    main(testing=True)


if __name__ == "__main__":
    run(main)
