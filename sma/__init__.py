"""Spiking Multiscale Attention and Attention ZoneOut (AAAI 2025); importing it registers the models with timm."""

from common.analysis.energy import Formula
from common.paper import Article, Family, Paper
from sma import models

VGG8 = {"width": 0.0625, "T": 4}

PAPER = Paper(
    package=__name__,
    title="Spiking Multiscale Attention, Attention ZoneOut (AAAI 2025)",
    articles=(
        Article(
            title="Advancing Spiking Neural Networks towards Multiscale Spatiotemporal Interaction Learning",
            authors=("Shan", "Zhang", "Zhu", "Qiu", "Eshraghian", "Qu"),
            journal="Proceedings of the AAAI Conference on Artificial Intelligence",
            volume=39,
            issue=2,
            start=1501,
            end=1509,
            year=2025,
            doi="10.1609/AAAI.V39I2.32141",
        ),
    ),
    reference="SMA + AZO, AAAI 2025, doi 10.1609/AAAI.V39I2.32141",
    code="github.com/Ym-Shan/Spiking_Multiscale_Attention_Arxiv",
    licence="none stated",
    data="DVS128 Gesture, CIFAR10-DVS, N-Caltech101, any ATIS folder; ImageNet",
    example="python sma/vgg8_cifar10dvs_SMA.py --tiny",
    families=(
        Family("sma_vgg8_*", "sma_vgg8_dvs128", VGG8),
        Family("sma_vgg8_*", "sma_vgg8_ncaltech101", VGG8 | {"lightweight": True}),
        Family("sma_resnet*", "sma_resnet18", {"width": 8, "T": 2, "num_classes": 5, "blocks": (1, 1, 1, 1)}),
    ),
    energy=Formula(source="no code; as ma_snn"),
    attention_readers="sma.attention_readers:READERS",
)
