"""Mask R-CNN on E-SpikeFormer, COCO (SDT V3, TPAMI 2025): tests a detector and draws what it finds."""

from common.training import run


def main() -> None:
    """Import what a test needs only when it begins."""
    from sdt_v3.train_detection import main

    main(testing=True)


if __name__ == "__main__":
    run(main)
