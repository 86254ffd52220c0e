"""Data sets as torch Datasets, one file each: its facts, how it is found, read and shown, and its card."""

DATA_SETS = tuple(
    f"{__name__}.{module}"
    for module in ("dvs128_gesture", "cifar10_dvs", "n_caltech101", "dvs_gait", "cifar", "imagenet")
)
"""The modules with `CARDS`, see `common.datasets.card.cards`."""
