"""Mask R-CNN on E-SpikeFormer, COCO (SDT V3, TPAMI 2025): trains a detector, or with --eval tests one."""

from common.training import run


def main() -> None:
    """Import what training needs only when it begins."""
    from sdt_v3.train_detection import main

    main()


if __name__ == "__main__":
    run(main)
