"""Spike-Driven Transformer V3, spike firing approximation (TPAMI 2025); importing registers the models with timm."""

from common.analysis.energy import Formula
from common.paper import Article, Family, Paper
from sdt_v3 import models

BASE = {"embed_dim": (8, 16, 24, 32), "depth": 2}
DENSE = BASE | {"fpn_channels": 16}
LARGE = {"embed_dim": (8, 16, 32), "depth": 1}

PAPER = Paper(
    package=__name__,
    title="Spike-Driven Transformer V3, masked autoencoder, distillation (TPAMI 2025)",
    articles=(
        Article(
            title="Scaling Spike-Driven Transformer With Efficient Spike Firing Approximation Training",
            authors=("Yao", "Qiu", "Hu, T.", "Hu, J.", "Chou", "Tian", "Liao", "Leng", "Xu", "Li"),
            journal="IEEE Transactions on Pattern Analysis and Machine Intelligence",
            volume=47,
            issue=4,
            start=2973,
            end=2990,
            year=2025,
            doi="10.1109/TPAMI.2025.3530246",
        ),
    ),
    reference="SDT V3, TPAMI 2025, doi 10.1109/TPAMI.2025.3530246",
    code="github.com/BICLab/Spike-Driven-Transformer-V3",
    licence="none stated",
    data="ImageNet, COCO, ADE20K, HAR-DVS, gestures, gait",
    example="python sdt_v3/Classification/Model_Base/main_finetune.py --tiny",
    families=(
        Family("sdt_v3_det_*", "sdt_v3_det_mask_rcnn_10m", DENSE | {"fc_channels": 32, "num_classes": 5}),
        Family("sdt_v3_seg_*", "sdt_v3_seg_fpn_10m", DENSE | {"head_channels": 16, "num_classes": 5}),
        Family("sdt_v3_mae_* spikmae*", "sdt_v3_mae_83m", LARGE | {"img_size": 32}),
        Family("sdt_v3_*3m spikformer*", "sdt_v3_83m", LARGE | {"T": 2, "kd": True}),
        Family("sdt_v3_dvs_* sdt_v3_gesture sdt_v3_hardvs *_scaling_*", "sdt_v3_gesture", BASE),
        Family("sdt_v3_* Efficient_*", "sdt_v3_tiny", BASE),
    ),
    energy=Formula(
        kinds=("conv", "linear", "attention"),
        source="paper; ACs = MACs * mean integer spike; count the folded network",
    ),
    unexportable="sdt_v3.models.mae:unexportable",
    data_sets=("sdt_v3.data.hardvs:CARD", "sdt_v3.data.coco:CARD", "sdt_v3.data.ade20k:CARD"),
    drawn_by="sdt_v3.dense_predict:drawer",
    settings_of="sdt_v3.models.checkpoint:settings_of",
)
