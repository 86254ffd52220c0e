"""The shapes in a weights file decide the network that it is loaded into."""

import pytest
import timm
import torch

import sdt_v3  # noqa: F401  (registers the models)
from common.errors import UserError
from sdt_v3.models.checkpoint import completed, settings_of


def create(name, **kwargs):
    with torch.device("meta"):
        return timm.create_model(name, **kwargs)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("sdt_v3_5m", {}),
        ("sdt_v3_5m", {"layer_scale": True}),
        ("sdt_v3_gesture", {}),
        ("sdt_v3_83m", {"rep_ratio": 1.0}),
        ("sdt_v3_83m", {"rep_ratio": 1.5, "kd": True}),
        ("sdt_v3_173m", {"embed_dim": (192, 384, 768)}),
    ],
)
def test_network_built_from_detected_settings_takes_the_weights(name, kwargs):
    weights = create(name, **kwargs).state_dict()
    rebuilt = create(name, **settings_of(weights)).state_dict()
    assert {k: v.shape for k, v in rebuilt.items()} == {k: v.shape for k, v in weights.items()}


def test_pretraining_does_not_decide_about_distillation():
    assert "kd" not in settings_of(create("sdt_v3_mae_83m").state_dict())


def test_weights_of_another_network_are_refused():
    with pytest.raises(UserError, match="not of an SDT V3 network; their keys start with fc"):
        settings_of({"fc.weight": torch.zeros(1)})


def test_fine_tuning_takes_the_encoder_and_starts_heads_and_layer_scales_anew():
    model = create("sdt_v3_83m", rep_ratio=1.0, kd=True)
    state, anew = completed(create("sdt_v3_mae_83m").state_dict(), model)
    assert state.keys() == model.state_dict().keys()
    assert {key for key in anew if ".layer_scale" not in key} == {
        f"{head}.{part}" for head in ("head", "head_kd") for part in ("weight", "bias")
    }


def test_a_head_for_other_classes_starts_anew():
    _, anew = completed(create("sdt_v3_5m").state_dict(), create("sdt_v3_5m", num_classes=10))
    assert anew == ["head.weight", "head.bias"]


def test_other_differences_are_left_for_the_loader():
    weights = create("sdt_v3_5m").state_dict()
    del weights["downsample2.encode_conv.bias"]
    state, _ = completed(weights, create("sdt_v3_5m"))
    assert "downsample2.encode_conv.bias" not in state
