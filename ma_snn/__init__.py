"""Attention Spiking Neural Networks (TPAMI 2023); importing it registers the models with timm."""

from common.analysis.energy import Formula
from common.paper import Article, Family, Paper
from ma_snn import models

EVENTS = {"width": 0.125, "T": 4}

PAPER = Paper(
    package=__name__,
    title="Attention SNN, LIF and LIAF, eight attentions (TPAMI 2023)",
    articles=(
        Article(
            title="Attention Spiking Neural Networks",
            authors=("Yao, M.", "Zhao, G.", "Zhang, H.", "Hu, Y.", "Deng, L.", "Tian, Y.", "Xu, B.", "Li, G."),
            journal="IEEE Transactions on Pattern Analysis and Machine Intelligence",
            volume=45,
            issue=8,
            start=9393,
            end=9410,
            year=2023,
            doi="10.1109/TPAMI.2023.3241201",
        ),
    ),
    reference="Attention SNN, TPAMI 2023, doi 10.1109/TPAMI.2023.3241201",
    code="github.com/BICLab/Attention-SNN; the VGG: github.com/ridgerchu/SNN_Attention_VGG",
    licence="see there; the VGG: none stated",
    data="DVS128 Gesture, CIFAR10-DVS, DVS128-Gait; CIFAR10/100, ImageNet",
    example="python ma_snn/DVSGestures/Att_SNN_CNN.py --attention TCSA --tiny",
    families=(
        Family("ma_snn_dvsgestures", "ma_snn_dvsgestures", EVENTS | {"t_ratio": 2, "attention": "TCSA"}),
        Family("ma_snn_*", "ma_snn_dvsgestures", EVENTS),
        Family("ma_snn_*", "ma_snn_dvsgestures", EVENTS | {"neuron": "liaf"}),
        Family("att_vgg*", "att_vgg11", {"width": 0.125, "c_ratio": 4, "T": 2, "v_threshold": 0.25}),
        Family("att_ms_resnet*", "att_ms_resnet18", {"width": 8, "T": 2, "num_classes": 5, "blocks": (1, 1, 1, 1)}),
    ),
    energy=Formula(source="paper; MAC are first layer and attention"),
    attention_readers="ma_snn.attention_readers:READERS",
    data_sets=("ma_snn.data.dvs_gesture_hdf5:CARD", "ma_snn.data.cifar10_dvs_mat:CARD"),
)
