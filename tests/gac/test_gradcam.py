"""Grad-CAM of the GAC networks equals the original's, once that averages its logits over time."""

import pytest
import timm
import torch

import gac  # noqa: F401  (registers the models)
from common.analysis.gradcam import grad_cam
from tests.parity.harness import FOLDER, close, load
from tests.parity.seeded import load_seeded_weights, seeded_input


def test_class_activation_map_equals_the_original():
    meta, expected = load(FOLDER / "gac" / "mod_gradcam_resnet18_T4.npz")
    model = load_seeded_weights(timm.create_model("gac_ms_resnet18", T=meta["kwargs"]["T"]).double())
    image = torch.from_numpy(seeded_input(meta["input"]["kind"], meta["input"]["shape"], meta["input"]["seed"]))
    cam = grad_cam(model, image, "conv5_x")
    assert cam.target == meta["index"]
    close(cam.logit, expected["logit"], "logit")
    close(cam.channel_weights, expected["alpha"], "alpha")
    close(cam.map, expected["cam_raw"], "cam_raw")
    close(cam.map.relu(), expected["cam_relu"], "cam_relu")


@pytest.mark.parametrize("name", ["gac_ms_resnet18_cifar", "ms_resnet18_cifar", "ms_resnet18"])
def test_it_runs_on(name):
    model = timm.create_model(name, T=2, num_classes=5, width=4)
    layer = "layer3" if "cifar" in name else "conv5_x"
    assert grad_cam(model, torch.randn(1, 3, 32, 32), layer, target=3).map.isfinite().all()
