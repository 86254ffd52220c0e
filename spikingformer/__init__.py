"""Spikingformer (2023) and CML downsampling (2023); importing it registers the models with timm."""

from common.analysis.energy import Formula
from common.paper import Article, Family, Paper
from spikingformer import models

SMALL = {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 32, "T": 4}

PAPER = Paper(
    package=__name__,
    title="Spikingformer and CML (2023)",
    articles=(
        Article(
            title="Spikingformer: Spike-driven Residual Learning for Transformer-based Spiking Neural Network",
            authors=("Zhou", "Yu", "Zhou", "Zhang", "Ma", "Zhou", "Tian"),
            year=2023,
            url="https://arxiv.org/abs/2304.11954",
        ),
    ),
    reference="Spikingformer, arXiv 2304.11954; CML, arXiv 2305.05954",
    code="github.com/zhouchenlin2096/Spikingformer, Spikingformer-CML",
    licence="Apache-2.0",
    data="ImageNet, CIFAR10/100, CIFAR10-DVS, DVS128 Gesture",
    example="python spikingformer/cifar10/train.py --tiny",
    families=(
        Family("spikingformer_dvs_*", "spikingformer_dvs_2_256", SMALL),
        Family("spikingformer_*", "spikingformer_8_384", SMALL),
        Family("cml_spikingformer_*", "cml_spikingformer_cifar_4_384", SMALL),
        Family("cml_spikformer_*", "cml_spikformer_dvs_2_256", SMALL),
    ),
    energy=Formula(kinds=("conv", "linear", "attention"), source="code; BN is folded, pools and neurons are free"),
)
