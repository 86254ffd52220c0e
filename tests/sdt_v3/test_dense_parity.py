"""Detector and segmentor compute what the authors' code computed, in float64."""

import numpy as np
import pytest
import timm
import torch
from torchvision.ops import box_iou

import sdt_v3  # noqa: F401  (registers the models)
from common.neurons import IntegerLIF
from sdt_v3.dense_recipe import parameter_groups
from sdt_v3.losses import detection_loss, pixel_accuracy, resize, segmentation_loss
from sdt_v3.models import boxes as geometry
from sdt_v3.models.mask_rcnn import NeckNeuron
from tests.parity.harness import (
    FOLDER,
    Rates,
    calibrate,
    check_structure,
    close,
    fixtures,
    load,
    next_losses,
    seeded_model,
)
from tests.parity.seeded import seeded_input

RTOL, ATOL = 1e-8, 1e-9
FLOAT32 = 1e-5
"""What the original computed in float32 even in a float64 network."""
DETECTORS = fixtures("sdt_v3", "det_maskrcnn_*", slow=("det_maskrcnn_10m_eval",))
SEGMENTORS = fixtures("sdt_v3", "seg_fpn_*")


def compare(actual, expected, name, rtol=RTOL):
    close(actual, expected, name, rtol=rtol, atol=ATOL)


def stats(maps):
    """Mean, standard deviation and norm of each map."""
    return torch.stack([torch.stack([x.mean(), x.std(), x.norm()]) for x in maps])


class PooledRates(Rates):
    """Mean output of each named neuron over all its calls while open."""

    def __init__(self, model, names):
        self.sums = {name: [0.0, 0] for name in names}
        super().__init__(model, names)

    def _record(self, name):
        def hook(module, inputs, output):
            total, count = self.sums[name]
            self.sums[name] = [total + output.sum().item(), count + output.numel()]

        return hook

    def array(self):
        return np.array([total / count for total, count in self.sums.values()])


def tied_by_place(boxes, scores):
    """Boxes of one score ordered by their left sides: the original's order of ties is that of an unstable sort."""
    order = sorted(range(len(boxes)), key=lambda i: (-scores[i].item(), boxes[i, 0].item()))
    return boxes[order]


def image_of(meta):
    return torch.from_numpy(seeded_input(meta["input"]["kind"], meta["input"]["shape"], meta["input"]["seed"]))


def calibrated(model, images, expected):
    """Evaluation with running statistics of one batch; the maps of the backbone before that are compared."""
    buffers = [buffer.clone() for buffer in model.buffers()]
    with torch.no_grad():
        plain = stats(model.eval().backbone(images))
    compare(plain, expected.pop("backbone_eval_plain_stats"), "plain")
    neck = model.neck
    calibrate(model, lambda: neck(model.backbone(images)) if hasattr(model, "rpn_head") else model(images))
    return buffers


def restore(model, buffers):
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    return model.train()


def test_neurons_equal_the_original():
    _, arrays = load(FOLDER / "sdt_v3" / "dense_neurons.npz")
    neurons = {
        "backbone_T4": IntegerLIF(4, 4),
        "neck_T1": NeckNeuron(4, 1),
        "head_T1": IntegerLIF(4, 1),
    }
    upstream = arrays.pop("upstream")
    given = arrays.pop("x")
    for name, neuron in neurons.items():
        x = given.clone().requires_grad_()
        output = neuron.train()(x)
        (output * upstream).sum().backward()
        compare(output, arrays.pop(f"{name}_train_out"), name)
        compare(x.grad, arrays.pop(f"{name}_grad"), name)
        compare(neuron.eval()(given), arrays.pop(f"{name}_eval_out"), name)
    assert not arrays


def test_geometry_equals_the_original():
    _, arrays = load(FOLDER / "sdt_v3" / "det_geometry.npz")
    like, sizes = torch.zeros((), dtype=torch.float64), ((16, 24), (8, 12), (4, 6), (4, 6), (2, 3))
    levels, flags = [], []
    for level, (size, stride) in enumerate(zip(sizes, geometry.STRIDES, strict=True)):
        levels.append(geometry.level_anchors(size, stride, 8 * stride, like))
        flags.append(geometry.inside(size, stride, (64, 96), like.device))
        compare(levels[-1][:90], arrays.pop(f"anchors_{level}"), "anchors")
        compare(levels[-1].sum(0), arrays.pop(f"anchors_sum_{level}"), "anchors")
        compare(flags[-1], arrays.pop(f"valid_{level}"), "valid")
    priors, objects, deltas = (arrays.pop(name) for name in ("priors", "gts", "deltas"))
    for name, coder in (("rpn", geometry.RPN_CODER), ("rcnn", geometry.ROI_CODER)):
        close(geometry.encode(coder, objects, priors), arrays.pop(f"enc_{name}"), name, rtol=FLOAT32, atol=1e-5)
        compare(geometry.decode(coder, deltas, priors, (64, 96))[:, 0], arrays.pop(f"dec_{name}"), name)
    rois = arrays.pop("rois")
    compare(geometry.roi_levels(rois[:, 1:]), arrays.pop("roi_levels"), "levels")
    maps = [torch.from_numpy(seeded_input("image", (1, 2, *size), 20 + i)) for i, size in enumerate(sizes[:4])]
    assert not rois[:, 0].any()
    compare(geometry.roi_features(maps, [rois[:, 1:]], geometry.STRIDES[:4], 7), arrays.pop("roi_feats"), "features")
    iou = box_iou(arrays.pop("assign_gt"), torch.cat(levels)[torch.cat(flags)])
    compare(geometry.match(iou, 0.7, 0.3, 0.3), arrays.pop("assign_inds"), "matched")
    assert not arrays


@pytest.mark.parametrize("file", DETECTORS)
def test_detector_equals_the_original(file):
    meta, expected = load(file)
    model, images = seeded_model(meta), image_of(meta)
    check_structure(model, meta)
    model.rpn_head.sampler.batch_size_per_image = model.roi_head.sampler.batch_size_per_image = 1_000_000
    buffers = calibrated(model, images, expected)
    found = {}
    handles = [
        getattr(model, part).register_forward_hook(lambda m, i, output, part=part: found.__setitem__(part, output))
        for part in ("backbone", "neck", "rpn_head")
    ]
    with torch.no_grad(), PooledRates(model, meta["neurons"]) as rates:
        detections = model(images)
    for handle in handles:
        handle.remove()
    compare(rates.array(), expected.pop("rates_eval"), "rates")
    (logits, deltas), maps = found["rpn_head"], {"backbone": found["backbone"], "neck": found["neck"]}
    for name, each in (maps | {"rpn_cls": logits, "rpn_reg": deltas}).items():
        compare(stats(each), expected.pop(f"{name}_eval_stats"), name)
    for name, each in (("backbone_eval_2", maps["backbone"][2]), ("backbone_eval_3", maps["backbone"][3]),
                       ("rpn_cls_eval_4", logits[4]), ("rpn_reg_eval_4", deltas[4])):  # fmt: skip
        compare(each, expected.pop(name)[0], name)
    sizes = [tuple(images.shape[2:])] * len(images)
    for number, (boxes, scores) in enumerate(model.rpn_head.scored_proposals(logits, deltas, sizes, 1000)):
        assert len(boxes) == expected.pop(f"prop_count_{number}")
        compare(scores[:200], expected.pop(f"prop_scores_{number}"), "scores")
        both = boxes[:200], expected.pop(f"prop_boxes_{number}")
        compare(*(tied_by_place(each, scores) for each in both), "proposals")
        assert (scores[1:] == scores[:-1]).sum() == expected.pop(f"prop_score_ties_{number}")
    targets = []
    for number, each in enumerate(detections):
        for name in ("boxes", "scores", "labels"):
            compare(each[name], expected.pop(f"det_{name}_{number}"), name)
        compare(each["masks"].sum((1, 2)), expected.pop(f"det_mask_area_{number}"), "areas")
        packed = expected.pop(f"gt_masks_{number}").numpy()
        targets.append({
            "boxes": expected.pop(f"gt_boxes_{number}"),
            "labels": expected.pop(f"gt_labels_{number}").long(),
            "masks": torch.from_numpy(np.unpackbits(packed, axis=-1)).bool(),
        })  # fmt: skip
    if "loss" in expected:
        check_training(model, images, targets, meta, expected, buffers)
    assert not expected, f"unchecked arrays: {sorted(expected)}"


def check_training(model, images, targets, meta, expected, buffers):
    restore(model, buffers)
    handle = model.neck.register_forward_hook(
        lambda m, i, output: compare(stats(output), expected.pop("neck_train_stats"), "neck in training")
    )
    losses = model(images, targets)
    handle.remove()
    assert [*losses] == meta["loss_parts"]
    compare(torch.stack([*losses.values()]), expected.pop("loss_parts"), "parts", rtol=FLOAT32)
    loss = detection_loss(losses)
    compare(loss, expected.pop("loss"), "loss", rtol=FLOAT32)
    loss.backward()
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=2e-4, weight_decay=0.05))
    again = lambda: detection_loss(model(images, targets))  # noqa: E731
    check_gradients_and_steps(model, optimizer, again, loss, meta, expected, FLOAT32)


def check_gradients_and_steps(model, optimizer, loss_of_batch, loss, meta, expected, rtol):
    norms = torch.stack([p.grad.norm() for p in model.parameters()])
    close(norms, expected.pop("grad_norms"), "gradients", rtol=max(rtol, 1e-7), atol=1e-8)
    state = model.state_dict()
    compare(torch.stack([state[name].norm() for name in meta["running"]]), expected.pop("running"), "running")
    wanted = expected.pop("losses")
    losses = [loss.item(), *next_losses(optimizer, loss_of_batch, steps=len(wanted) - 1)]
    close(losses, wanted, "losses", rtol=max(rtol, 1e-7))


@pytest.mark.parametrize("file", SEGMENTORS)
def test_segmentor_equals_the_original(file):
    meta, expected = load(file)
    model, images = seeded_model(meta), image_of(meta)
    check_structure(model, meta)
    buffers = calibrated(model, images, expected)
    with torch.no_grad(), PooledRates(model, meta["neurons"]) as rates:
        maps = model.backbone(images)
        neck = model.neck(maps)
        logits = model.decode_head(neck)
    compare(rates.array(), expected.pop("rates_eval"), "rates")
    compare(maps[3], expected.pop("backbone_eval_3"), "backbone")
    for name, each in (("backbone_eval", maps), ("neck_eval", neck), ("logits_eval", [logits])):
        compare(stats(each), expected.pop(f"{name}_stats"), name)
    compare(logits[..., ::8, ::8], expected.pop("logits_eval"), "logits")
    pred = resize(logits, images.shape[2:])
    compare(stats([pred]), expected.pop("pred_stats"), "prediction")
    compare(pred.argmax(1)[:, ::4, ::4], expected.pop("pred_classes"), "classes")
    if "loss" in expected:
        restore(model, buffers)
        labels = pixel_labels(meta)
        logits = model(images)
        compare(stats([logits]), expected.pop("logits_train_stats"), "logits in training")
        compare(logits[..., ::8, ::8], expected.pop("logits_train"), "logits in training")
        loss = segmentation_loss(logits, labels)
        compare(torch.stack([loss, pixel_accuracy(logits, labels)]), expected.pop("loss_parts"), "parts", rtol=FLOAT32)
        compare(loss, expected.pop("loss"), "loss")
        loss.backward()
        groups = parameter_groups(model, lr=1e-3, weight_decay=0.005, head_factor=2)
        doubled = {id(p) for group in groups if group["lr"] == 2e-3 for p in group["params"]}
        assert [name for name, p in model.named_parameters() if id(p) in doubled] == meta["head_params"]
        check_gradients_and_steps(
            model,
            torch.optim.AdamW(groups),
            lambda: segmentation_loss(model(images), labels),
            loss, meta, expected, RTOL,
        )  # fmt: skip
    assert not expected, f"unchecked arrays: {sorted(expected)}"


def pixel_labels(meta):
    """Blocks of 8 x 8 pixels, ignored where the class would be one too many."""
    batch, _, height, width = meta["input"]["shape"]
    classes = meta["classes"]
    blocks = np.random.RandomState(meta["input"]["seed"] + 1).randint(0, classes + 1, (batch, height // 8, width // 8))
    blocks[blocks == classes] = 255
    return torch.from_numpy(blocks.repeat(8, 1).repeat(8, 2)).long()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("sdt_v3_det_mask_rcnn_19m", 38_738_616),
        ("sdt_v3_det_mask_rcnn_10m", 21_172_240),
        ("sdt_v3_seg_fpn_10m", 11_485_462),
        ("sdt_v3_seg_fpn_19m", 20_354_254),
    ],
)
def test_networks_have_the_published_sizes(name, count):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == count
