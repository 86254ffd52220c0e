"""What detectors and segmentors do beside what their fixtures show: spikes, quirks, weights, empty pictures."""

import pytest
import timm
import torch
from torch import nn

import sdt_v3  # noqa: F401  (registers the models)
from common.analysis.operations import count_operations
from common.errors import UserError
from sdt_v3 import dense_recipe as recipe
from sdt_v3.losses import detection_loss
from sdt_v3.models import boxes as geometry
from sdt_v3.models.spike_driven import UnrolledLayer, spike_driven
from tests.parity.harness import calibrate, close, reseed

SMALL = {"embed_dim": (16, 16, 24, 32), "depth": 2, "fpn_channels": 16, "num_classes": 3}
DETECTOR = SMALL | {"fc_channels": 32}
BACKBONE = {"embed_dim": SMALL["embed_dim"], "depth": 2}


def create(name, **kwargs):
    torch.manual_seed(0)
    small = DETECTOR if "_det_" in name else SMALL | {"head_channels": 16}
    return timm.create_model(name, **small | kwargs)


def target(*boxes, size=(64, 96)):
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    labels = torch.arange(len(boxes)) % 3
    return {"boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), "labels": labels, "masks": masks}


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("sdt_v3_det_mask_rcnn_10m", {}), ("sdt_v3_det_mask_rcnn_10m", {"neck_eval_max": 1}), ("sdt_v3_seg_fpn_10m", {})],
    ids=["detector", "detector with the release's neck", "segmentor"],
)
@torch.no_grad()
def test_a_spike_driven_network_sees_binary_spikes_and_finds_the_same(name, kwargs):
    model, x = create(name, **kwargs).double(), torch.randn(1, 3, 64, 64, dtype=torch.float64)
    reseed(model, {"bn_gain": 3.0})
    calibrate(model, lambda: model.neck(model.backbone(x)) if "_det_" in name else model(x))
    spiking, seen = spike_driven(model), []
    for name_of, module in spiking.named_modules():
        if isinstance(module, UnrolledLayer):
            module.register_forward_hook(lambda m, i, o, n=name_of: seen.append((n, i[0].aminmax(), i[0].unique())))
    expected, found = model(x), spiking(x)
    if "_det_" in name:
        assert len(expected[0]["boxes"]) > 5
        for key in ("boxes", "scores", "labels", "masks"):
            close(found[0][key], expected[0][key], key, rtol=1e-8)
    else:
        close(found, expected, "logits", rtol=1e-8)
    assert len(seen) > 40 and all(set(values.tolist()) <= {0, 1} for _, _, values in seen)
    parts = {name.split(".")[0] for name, (low, high), _ in seen if high > low}
    assert parts >= ({"backbone", "neck", "rpn_head", "roi_head"} if "_det_" in name else {"backbone", "decode_head"})


@torch.no_grad()
def test_what_sees_real_numbers_is_counted_as_multiplications():
    model = create("sdt_v3_det_mask_rcnn_10m")
    reseed(model, {"bn_gain": 3.0})
    layers = {layer.name: layer for layer in count_operations(model, [torch.randn(1, 3, 64, 64)])}
    products = [layer for layer in layers.values() if layer.kind in ("conv", "linear")]
    assert {layer.name for layer in products if layer.dense} == set(model.real_valued_layers)
    upsample = layers["roi_head.mask_head.upsample.1.0"]
    assert upsample.operations == pytest.approx(100 * (14**2 * 16 * 16 * 4 + 28**2 * 16), rel=1)
    with torch.device("meta"):
        create("sdt_v3_det_mask_rcnn_10m").with_all_regions(torch.empty(1, 3, 64, 64))


@pytest.mark.parametrize("amp", [False, True])
def test_pictures_with_and_without_objects_train_every_parameter(amp):
    model, images = create("sdt_v3_det_mask_rcnn_10m").train(), torch.randn(2, 3, 64, 96)
    for targets in ([target((10, 10, 60, 50)), target()], [target(), target()]):
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            losses = model(images, targets, [(60, 90), (64, 96)])
        loss = detection_loss(losses)
        assert loss.dtype == torch.float32 and loss.isfinite()
        model.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert losses["loss_rpn_bbox"] == losses["loss_bbox"] == losses["loss_mask"] == 0
    with pytest.raises(ValueError, match="training needs targets"):
        model(images)


@torch.no_grad()
def test_detections_lie_in_their_picture_and_come_at_its_original_size():
    model = create("sdt_v3_det_mask_rcnn_10m")
    reseed(model, {"bn_gain": 3.0})
    images = torch.randn(2, 3, 64, 96)
    found = model.eval()(images, None, [(64, 70), (40, 96)], [(128, 140), (20, 48)])
    for each, (height, width) in zip(found, ((128, 140), (20, 48)), strict=True):
        assert 0 < len(each["boxes"]) <= 100 and each["masks"].shape == (len(each["boxes"]), height, width)
        assert each["masks"].dtype == torch.bool and each["labels"].max() < 3
        assert (each["boxes"] <= torch.tensor([width, height, width, height]) + 1e-4).all()
        assert (each["scores"].diff() <= 0).all() and each["scores"].min() > 0.05
    silent = model(torch.zeros(1, 3, 64, 64))
    assert set(silent[0]) == {"boxes", "scores", "labels", "masks"}


def test_true_strides_place_the_anchors_where_the_maps_are():
    images = torch.zeros(1, 3, 64, 96)
    for true, strides in ((False, geometry.STRIDES), (True, geometry.TRUE_STRIDES)):
        model = create("sdt_v3_det_mask_rcnn_10m", true_strides=true)
        maps = model.neck(model.backbone(images))
        anchors = model.rpn_head.anchors(maps)[3]
        centres = (anchors[:, :2] + anchors[:, 2:]) / 2
        assert centres.max(0).values.tolist() == pytest.approx([strides[3] * 5, strides[3] * 3])
        assert model.roi_head.strides == strides[:4]
        assert (anchors[1, 2:] - anchors[1, :2]).tolist() == [256, 256]


def test_layer_scales_start_as_told_or_are_left_out():
    def scales(**kwargs):
        model = create("sdt_v3_seg_fpn_10m", **kwargs)
        return [value for key, value in model.state_dict().items() if "layer_scale" in key]

    assert all((scale == 1e-6).all() for scale in scales()) and len(scales()) == 3
    assert all((scale == 0.5).all() for scale in scales(layer_scale_init=0.5))
    assert scales(layer_scale_init=False) == []


def test_norms_decay_unless_told_otherwise():
    model = create("sdt_v3_seg_fpn_10m")
    assert {group["weight_decay"] for group in recipe.parameter_groups(model, 1e-3, 0.1)} == {0.1}
    groups = recipe.parameter_groups(model, 1e-3, 0.1, head_factor=2, norm_decay=False)
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {
        (1e-3, 0.1),
        (2e-3, 0.1),
        (1e-3, 0),
        (2e-3, 0),
    }
    norms = sum(len(list(m.parameters())) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    assert sum(len(group["params"]) for group in groups if not group["weight_decay"]) == norms


def test_published_sizes_of_classifier_and_backbone_differ_by_the_head():
    with torch.device("meta"):
        classifier = timm.create_model("sdt_v3_10m").state_dict()
        backbone = timm.create_model("sdt_v3_det_mask_rcnn_10m").backbone.state_dict()
    assert len(classifier) == 605 and len(backbone) == 603
    assert {key: value.shape for key, value in classifier.items() if not key.startswith("head.")} == {
        key: value.shape for key, value in backbone.items()
    }


@pytest.mark.parametrize("name", ["sdt_v3_det_mask_rcnn_10m", "sdt_v3_seg_fpn_10m"])
def test_weights_of_a_classifier_start_the_backbone_and_the_rest_is_named(name):
    classifier, model = timm.create_model("sdt_v3_10m", **BACKBONE), create(name)
    weights = classifier.state_dict()
    report = recipe.started_from(model, weights, "weights.pth")
    assert all(torch.equal(model.backbone.state_dict()[key], weights[key]) for key in weights if "head." not in key[:5])
    assert f"{len(weights) - 2} of {len(weights)} entries loaded" in report and "neck" in report
    assert ("layer scales" in report) == ("_seg_" in name)
    again = create(name, num_classes=7)
    report = recipe.started_from(again, model.state_dict(), "trained.pth")
    assert torch.equal(
        again.neck.fpn_convs[0][-1].state_dict().popitem()[1], model.neck.fpn_convs[0][-1].state_dict().popitem()[1]
    )
    assert "fc_cls" in report or "conv_seg" in report or "bbox_head" in report
    with pytest.raises(UserError, match="do not fit"):
        recipe.started_from(model, dict(list(weights.items())[10:]), "part.pth")


def test_rates_follow_the_release_s_schedules():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    steps = recipe.step_decay(optimizer, 100, (8, 11), warmup=1000, first=1e-3).lr_lambdas[0]
    assert [steps(0), steps(799), steps(999), steps(1099), steps(1100)] == pytest.approx(
        [1e-3, 0.8, 0.1, 0.1, 0.01], rel=2e-3
    )
    line = recipe.linear_decay(optimizer, 160_000).lr_lambdas[0]
    assert [line(0), line(1499), line(1500), line(80_750), line(159_999)] == pytest.approx(
        [1e-6, 1, 1, 0.5, 0], abs=1e-5
    )
