"""MS-ResNet, the backbone of three papers: the network, its ImageNet trainer, the trainer's files, and CutMix."""

from common.ms_resnet.network import PUBLISHED, Design, MSResNet, basic_block

__all__ = ["PUBLISHED", "Design", "MSResNet", "basic_block"]
