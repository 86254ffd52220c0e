"""MS-ResNet, the backbone of three papers: the network, its ImageNet trainer, the trainer's files, and CutMix."""

from common.ms_resnet.network import PUBLISHED, Design, MSResNet, basic_block
from common.paper import Family, Networks

NETWORKS = Networks(
    package=__name__,
    families=(Family("ms_resnet*", "ms_resnet18", {"width": 8, "T": 2, "num_classes": 5, "blocks": (1, 1, 1, 1)}),),
)
"""The plain networks, which belong to no paper's folder."""
