"""The networks for event cameras and Att-MS-ResNet compute what the authors' code computed."""

import pytest
import timm
import torch
import torch.nn.functional as F

import ma_snn  # noqa: F401  (registers the models)
from common.ms_resnet import basic_block
from ma_snn.models.att_ms_resnet import TimeFirstAttention, design
from tests.ma_snn.blocks import check_block
from tests.parity.harness import check_network, check_structure, fixtures, load

REPEATED = (
    "ma_snn_cifar10dvs_ca_lif_T2_b2_s0",
    "ma_snn_cifar10dvs_no_liaf_T2_b2_s1",
    "ma_snn_cifar10dvs_no_lif_T2_b2_s0",
    "ma_snn_cifar10dvs_sa_lif_vth0.03_T2_b2_s0",
    "ma_snn_cifar10dvs_ta_lif_T2_b2_s0",
    "ma_snn_dvsgestures_ca_lif_T6_b2_s0",
    "ma_snn_dvsgestures_csa_lif_vth0.03_T6_b2_s0",
    "ma_snn_dvsgestures_no_lif_T6_b2_s0",
    "ma_snn_dvsgestures_sa_lif_vth0.03_T6_b2_s0",
    "ma_snn_dvsgestures_ta_lif_T6_b2_s0",
    "ma_snn_dvsgestures_tca_liaf_tr_T6_b2_s1",
    "ma_snn_dvsgestures_tca_lif_T6_b2_s0",
    "ma_snn_dvsgestures_tcsa_lif_T6_b2_s0",
    "ma_snn_dvsgestures_tcsa_liaf_T6_b2_s1",
    "att_ms_resnet34_T1_b2_64px_s2",
    "att_ms_resnet104_T1_b2_32px_s3",
)
"""What other fixtures show on another data set, at a threshold where more fires, or with other depths."""


def mse(output, labels):
    return F.mse_loss(output, F.one_hot(labels, output.shape[-1]).to(output.dtype))


def smooth_cross_entropy(logits, labels):
    return F.cross_entropy(logits, labels, label_smoothing=0.1)


def adam(meta):
    return lambda model: torch.optim.Adam(model.parameters(), lr=meta["optimizer"]["lr"])


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-5)


@pytest.mark.parametrize("file", fixtures("ma_snn", "ma_snn_*", slow=REPEATED))
def test_event_network_equals_the_original(file):
    check_network(file, lambda drawn: drawn, mse, adam(load(file)[0]))


@pytest.mark.parametrize("file", fixtures("ma_snn", "att_ms_resnet*", slow=REPEATED))
def test_att_ms_resnet_equals_the_original(file):
    check_network(file, lambda drawn: drawn, smooth_cross_entropy, sgd)


@pytest.mark.parametrize("file", fixtures("ma_snn", "keys_*"))
def test_att_ms_resnet_has_the_keys_of_the_original(file):
    meta, _ = load(file)
    with torch.device("meta"):
        model = timm.create_model(meta["create"]["model"], **meta["create"]["kwargs"])
    check_structure(model, meta)


@pytest.mark.parametrize("file", fixtures("ma_snn", "block_ms_csa_*"))
def test_time_first_attention_equals_the_original(file):
    check_block(file, lambda meta: TimeFirstAttention(meta["kwargs"]["channels"], meta["input"]["shape"][0]))


@pytest.mark.parametrize("file", fixtures("ma_snn", "block_ms_basic_*"))
def test_residual_block_equals_the_original(file):
    def build(meta):
        k = meta["kwargs"]
        return basic_block(design(18, k["T"]), k["in_channels"], k["out_channels"], k["stride"], 0)

    check_block(file, build)
