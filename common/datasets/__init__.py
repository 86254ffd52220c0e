"""Data sets as torch Datasets, one file each: its facts, how it is found, read and shown, and its card."""

CARDS = (
    "common.datasets.dvs128_gesture:CARD",
    "common.datasets.cifar10_dvs:CARD",
    "common.datasets.n_caltech101:CARD",
    "common.datasets.dvs_gait:CARD",
    "common.datasets.cifar:CIFAR10",
    "common.datasets.cifar:CIFAR100",
    "common.datasets.imagenet:CARD",
)
"""Where the cards are, for `common.datasets.card.cards`."""
