"""Gated Attention Coding (AAAI 2024); importing it registers the models with timm."""

from common.analysis.energy import Formula
from common.paper import Article, Family, Paper
from gac import models

PAPER = Paper(
    package=__name__,
    title="Gated Attention Coding (AAAI 2024)",
    articles=(
        Article(
            title="Gated Attention Coding for Training High-performance and Efficient Spiking Neural Networks",
            authors=("Qiu", "Zhu", "Chou", "Wang", "Deng", "Li"),
            journal="Proceedings of the AAAI Conference on Artificial Intelligence",
            volume=38,
            issue=1,
            start=601,
            end=610,
            year=2024,
        ),
    ),
    reference="GAC, AAAI 2024, arXiv 2308.06582",
    code="github.com/bollossom/GAC",
    licence="none stated",
    data="CIFAR10/100, ImageNet",
    example="python gac/CIFAR/main.py --tiny",
    families=(
        Family("gac_ms_resnet18_cifar", "gac_ms_resnet18_cifar", {"width": 4, "T": 2}),
        Family("gac_ms_resnet*", "gac_ms_resnet18", {"width": 8, "T": 2, "num_classes": 5, "blocks": (1, 1, 1, 1)}),
        Family("ms_resnet18_cifar", "ms_resnet18_cifar", {"width": 4, "T": 2}),
    ),
    energy=Formula(source="paper; MAC are stem and gate"),
    attention_readers="gac.attention_readers:READERS",
    unexportable="gac.models.cifar:unexportable",
)
