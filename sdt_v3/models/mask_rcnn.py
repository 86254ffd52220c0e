"""Mask R-CNN on E-SpikeFormer: nearly every layer is fed by a neuron (SDT V3, section 5; COCO).

| part       | input                        | output                                                               |
|------------|------------------------------|----------------------------------------------------------------------|
| `backbone` | images `[B, 3, H, W]`        | maps of strides 4, 8, 16, 16                                          |
| `neck`     | those                        | the same sizes and half the last one, all of `fpn_channels`           |
| `rpn_head` | those                        | objectness `[B, 3, H', W']` and box changes `[B, 12, H', W']` of each |
| `roi_head` | four maps of the neck, boxes | class logits, box changes, mask logits                                |

Keys are those of the release. Its axis of one time step is left out. Neck and heads send integers (norm 1), the
backbone integers divided by D.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.ops import box_iou

from common.layers import SpikeConv2d
from common.layout import Layout
from common.neurons import IntegerLIF
from common.recompute import GradCheckpointing
from sdt_v3.models import boxes as geometry
from sdt_v3.models.base import Backbone
from sdt_v3.models.blocks import Neuron
from sdt_v3.models.neurons import closed_neuron
from sdt_v3.models.semantic_fpn import top_down, xavier

Size = tuple[int, int]
"""(H, W)."""
Target = Mapping[str, Tensor]
"""`boxes` `[n, 4]`, `labels` `[n]` from 0 and `masks` `[n, H, W]` of the objects of an image."""
ANCHORS = len(geometry.RATIOS)
BOX_SIDE, MASK_SIDE = 7, 14
"""Places per side at which a region is read for its class, and for its mask, which comes out twice as large."""


class NeckNeuron(IntegerLIF):
    """An integer neuron that emits up to `max_value` in training and up to `eval_max` in evaluation.

    The release's neck clips at 1 in evaluation although it was trained up to 4 (`eval_max` 1); 4 is consistent.
    """

    def __init__(self, max_value: int, eval_max: int):
        super().__init__(max_value, norm=1)
        self.ranges = {True: self.constants, False: IntegerLIF(eval_max, norm=1).constants}

    def train(self, mode: bool = True) -> "NeckNeuron":
        self.constants = self.ranges[mode]
        return super().train(mode)


class DetectionBackbone(Backbone):
    """`Backbone` that returns the maps of stages 1b, 2, 3, 4."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.features(x)[1:]


class Neck(nn.Module):
    """Feature pyramid: out_i = conv3x3(N(m_i)), m_i = conv1x1(N(x_i)) + m_{i+1}; a fifth map is every other place."""

    def __init__(self, widths: Sequence[int], channels: int, neuron: Neuron):
        super().__init__()
        self.lateral_convs = nn.ModuleList(fed_conv(neuron, xavier(SpikeConv2d(w, channels, 1))) for w in widths)
        self.fpn_convs = nn.ModuleList(
            fed_conv(neuron, xavier(SpikeConv2d(channels, channels, 3, padding=1))) for _ in widths
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        merged = top_down([conv(x) for conv, x in zip(self.lateral_convs, maps, strict=True)])
        outputs = [conv(x) for conv, x in zip(self.fpn_convs, merged, strict=True)]
        return [*outputs, F.max_pool2d(outputs[-1], 1, 2)]


class RPNHead(nn.Module):
    """Region proposals: for each place of each map and each anchor, whether there is an object and where exactly."""

    def __init__(self, channels: int, neuron: Neuron, samples: int, strides: Sequence[int]):
        super().__init__()
        self.strides = tuple(strides)
        self.sampler = BalancedPositiveNegativeSampler(samples, 0.5)
        self.rpn_conv = fed(neuron, normal(SpikeConv2d(channels, channels, 3, padding=1), 0.01))
        self.rpn_cls = fed(neuron, normal(SpikeConv2d(channels, ANCHORS, 1), 0.01))
        self.rpn_reg = fed(neuron, normal(SpikeConv2d(channels, 4 * ANCHORS, 1), 0.01))

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hidden = [self.rpn_conv(x) for x in maps]
        return [self.rpn_cls(x) for x in hidden], [self.rpn_reg(x) for x in hidden]

    def anchors(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Those of each map; their sides follow the stated strides."""
        levels = zip(maps, self.strides, geometry.STRIDES, strict=True)
        return [geometry.level_anchors(x.shape[2:], stride, 8 * nominal, x) for x, stride, nominal in levels]

    @torch.no_grad()
    def proposals(self, logits: list[Tensor], deltas: list[Tensor], sizes: Sequence[Size], most: int) -> list[Tensor]:
        """At most 1000 boxes `[n, 4]` for each image, in falling order of scores, of the `most` best of each level."""
        return [boxes for boxes, _ in self.scored_proposals(logits, deltas, sizes, most)]

    @torch.no_grad()
    def scored_proposals(
        self, logits: list[Tensor], deltas: list[Tensor], sizes: Sequence[Size], most: int
    ) -> list[tuple[Tensor, Tensor]]:
        """`proposals` with their scores `[n]`."""
        anchors, found = self.anchors(logits), []
        scores, deltas = [flat(x, 1).sigmoid()[..., 0] for x in logits], [flat(x, 4) for x in deltas]
        for image, size in enumerate(sizes):
            levels = []
            for level, (score, delta, anchor) in enumerate(zip(scores, deltas, anchors, strict=True)):
                score, order = score[image].sort(descending=True, stable=True)
                order = order[:most]
                boxes = geometry.decode(geometry.RPN_CODER, delta[image, order], anchor[order], size)[:, 0]
                levels.append((boxes, score[:most], torch.full_like(order, level)))
            boxes, score, level = (torch.cat(part) for part in zip(*levels, strict=True))
            whole = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
            boxes, score, level = boxes[whole], score[whole], level[whole]
            kept = geometry.suppress(boxes, score, level, 0.7, 1000)
            found.append((boxes[kept], score[kept]))
        return found

    def losses(
        self, logits: list[Tensor], deltas: list[Tensor], targets: Sequence[Target], padded: Sequence[Size]
    ) -> dict[str, Tensor]:
        """Binary cross entropy of the sampled anchors and L1 of the positive ones, both per sampled anchor."""
        anchors = torch.cat(self.anchors([x.float() for x in logits]))  # which tie in single precision, as they did
        anchors = anchors.to(logits[0].dtype)
        score = torch.cat([flat(x, 1) for x in logits], 1)[..., 0]
        delta = torch.cat([flat(x, 4) for x in deltas], 1)
        matched = []
        for target, size in zip(targets, padded, strict=True):
            levels = zip(logits, self.strides, strict=True)
            learning = torch.cat([geometry.inside(x.shape[2:], s, size, anchors.device) for x, s in levels])
            indices = torch.full((len(anchors),), -1, device=anchors.device)
            iou = box_iou(target["boxes"].to(anchors.dtype), anchors[learning])
            indices[learning] = geometry.match(iou, 0.7, 0.3, 0.3)
            matched.append(indices)
        positive, negative = (torch.stack(chosen).bool() for chosen in self.sampler(matched))
        sampled = positive | negative
        count = sampled.sum().clamp(min=1)
        classes = F.binary_cross_entropy_with_logits(score[sampled], positive[sampled].to(score), reduction="sum")
        wanted = [
            geometry.encode(geometry.RPN_CODER, target["boxes"].to(anchors.dtype)[indices[p] - 1], anchors[p])
            for target, indices, p in zip(targets, matched, positive, strict=True)
        ]
        boxes = F.l1_loss(delta[positive], torch.cat(wanted), reduction="sum")
        return {"loss_rpn_cls": classes / count, "loss_rpn_bbox": boxes / count}


class BoxHead(nn.Module):
    """Class logits `[R, K + 1]`, background last, and box changes `[R, 4 K]` of regions `[R, C, 7, 7]`.

    The two last layers see membrane values, as in the release.
    """

    def __init__(self, channels: int, hidden: int, num_classes: int, neuron: Neuron):
        super().__init__()
        self.fc_cls = normal(nn.Linear(hidden, num_classes + 1), 0.01)
        self.fc_reg = normal(nn.Linear(hidden, 4 * num_classes), 0.001)
        widths = (channels * BOX_SIDE**2, hidden, hidden)
        self.shared_fcs = nn.ModuleList(
            fed(neuron, xavier(nn.Linear(before, after))) for before, after in pairwise(widths)
        )

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        x = regions.flatten(1)
        for layer in self.shared_fcs:
            x = layer(x)
        return self.fc_cls(x), self.fc_reg(x)


class MaskHead(nn.Module):
    """Mask logits `[R, K, 28, 28]` of regions `[R, C, 14, 14]`."""

    def __init__(self, channels: int, num_classes: int, neuron: Neuron):
        super().__init__()
        self.convs = nn.ModuleList(
            fed_conv(neuron, SpikeConv2d(channels, channels, 3, padding=1), activate=nn.ReLU()) for _ in range(4)
        )
        for conv in self.convs:
            nn.init.kaiming_normal_(conv[1][0].conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv[1][0].conv.bias)
        self.upsample = fed(neuron, nn.ConvTranspose2d(channels, channels, 2, 2))
        self.conv_logits = fed(neuron, SpikeConv2d(channels, num_classes, 1))

    def forward(self, regions: Tensor) -> Tensor:
        for conv in self.convs:
            regions = conv(regions)
        return self.conv_logits(self.upsample(regions))


class RoIHead(nn.Module):
    """What is in a region, and which of its pixels."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        num_classes: int,
        neuron: Neuron,
        samples: int,
        strides: Sequence[int],
    ):
        super().__init__()
        self.num_classes, self.strides = num_classes, tuple(strides)
        self.sampler = BalancedPositiveNegativeSampler(samples, 0.25)
        self.bbox_head = BoxHead(channels, hidden, num_classes, neuron)
        self.mask_head = MaskHead(channels, num_classes, neuron)

    def read(self, maps: Sequence[Tensor], regions: Sequence[Tensor], side: int) -> Tensor:
        """Features `[R, C, side, side]` of regions, boxes `[n, 4]` for each image."""
        return geometry.roi_features(maps, regions, self.strides, side)

    def losses(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Losses of class, box and mask of sampled proposals, objects among them, and the accuracy in percent."""
        regions, matched = [], []
        for target, boxes in zip(targets, proposals, strict=True):
            objects = target["boxes"].to(boxes)
            regions.append(torch.cat([objects, boxes]))
            themselves = torch.arange(1, len(objects) + 1, device=boxes.device)
            matched.append(torch.cat([themselves, geometry.match(box_iou(objects, boxes), 0.5, 0.5, 0.5)]))
        positive, negative = (list(map(Tensor.bool, chosen)) for chosen in self.sampler(matched))
        sampled = [p | n for p, n in zip(positive, negative, strict=True)]
        sampled_regions = [region[chosen] for region, chosen in zip(regions, sampled, strict=True)]
        logits, deltas = map(single, self.bbox_head(self.read(maps, sampled_regions, BOX_SIDE)))

        objects = [indices[p] - 1 for indices, p in zip(matched, positive, strict=True)]
        found = [region[p] for region, p in zip(regions, positive, strict=True)]
        classes = torch.cat([t["labels"][o] for t, o in zip(targets, objects, strict=True)])
        is_object = torch.cat([p[chosen] for p, chosen in zip(positive, sampled, strict=True)])
        labels = torch.full_like(is_object, self.num_classes, dtype=torch.long)
        labels[is_object] = classes
        wanted = [
            geometry.encode(geometry.ROI_CODER, t["boxes"].to(boxes)[o], boxes)
            for t, o, boxes in zip(targets, objects, found, strict=True)
        ]
        count = max(len(labels), 1)
        moved = deltas.unflatten(1, (-1, 4))[is_object, classes]
        masks = single(self.mask_head(self.read(maps, found, MASK_SIDE)))
        masks = masks[torch.arange(len(masks), device=masks.device), classes]
        shapes = [
            geometry.mask_targets(t["masks"], o, boxes, masks.shape[-1])
            for t, o, boxes in zip(targets, objects, found, strict=True)
        ]
        drawn = F.binary_cross_entropy_with_logits(masks, torch.cat(shapes), reduction="sum")
        return {
            "loss_cls": F.cross_entropy(logits, labels, reduction="sum") / count,
            "acc": 100 * (logits.argmax(1) == labels).sum().to(logits) / count,
            "loss_bbox": F.l1_loss(moved, torch.cat(wanted), reduction="sum") / count,
            "loss_mask": drawn / max(masks.numel(), 1),
        }

    @torch.no_grad()
    def detections(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Sequence[Size], originals: Sequence[Size]
    ) -> list[dict[str, Tensor]]:
        """`boxes`, `scores`, `labels` and `masks` of the 100 best detections of each image, at its size in `originals`.

        Scores above 0.05 after suppression at an overlap of 0.5 within each class.
        """
        logits, deltas = map(single, self.bbox_head(self.read(maps, proposals, BOX_SIDE)))
        counts, found = [len(boxes) for boxes in proposals], []
        images = zip(proposals, logits.split(counts), deltas.split(counts), sizes, strict=True)
        for regions, logit, delta, size in images:
            scores = logit.softmax(1)[:, :-1]
            boxes = geometry.decode(geometry.ROI_CODER, delta, regions, size)
            region, label = torch.where(scores > 0.05)
            boxes, scores = boxes[region, label], scores[region, label]
            kept = geometry.suppress(boxes, scores, label, 0.5, 100)
            found.append({"boxes": boxes[kept], "scores": scores[kept], "labels": label[kept]})
        masks = single(self.mask_head(self.read(maps, [each["boxes"] for each in found], MASK_SIDE)))
        masks = masks.split([len(each["boxes"]) for each in found])
        for each, mask, size, original in zip(found, masks, sizes, originals, strict=True):
            chosen = mask[torch.arange(len(mask), device=mask.device), each["labels"]].sigmoid()
            scale = [original[1] / size[1], original[0] / size[0]] * 2
            each["boxes"] = each["boxes"] * each["boxes"].new_tensor(scale)
            each["masks"] = geometry.paste(chosen, each["boxes"], original)
        return found


class MaskRCNN(GradCheckpointing, nn.Module):
    """The detector; called as torchvision's, but for images `[B, in_chans, H, W]` in one normalised, padded batch.

    Args:
        embed_dim: e0, e1, e2, e3 of the backbone.
        num_classes: classes of objects, background not counted.
        in_chans: channels of an image.
        fpn_channels: width of the neck.
        fc_channels: width of the box head.
        max_value: D, the largest integer a neuron emits.
        neck_eval_max: the largest integer of the neck in evaluation, see `NeckNeuron`.
        true_strides: place anchors and read regions by the strides that the maps have; the release takes the last maps
            for half as large as they are.
        rpn_samples: anchors that learn per image.
        roi_samples: regions that learn per image.
        backbone: further arguments of `Backbone`.
    """

    real_valued_layers = (
        "backbone.downsample1_1.encode_conv",
        "roi_head.bbox_head.fc_cls",
        "roi_head.bbox_head.fc_reg",
    )
    counting_parts = ("neck", "rpn_head", "roi_head")
    """Where neurons send integers instead of integers divided by D."""

    def __init__(
        self,
        embed_dim: Sequence[int],
        num_classes: int = 80,
        in_chans: int = 3,
        *,
        fpn_channels: int = 256,
        fc_channels: int = 1024,
        max_value: int = 4,
        neck_eval_max: int = 4,
        true_strides: bool = False,
        rpn_samples: int = 256,
        roi_samples: int = 512,
        **backbone,
    ):
        super().__init__()
        self.num_classes, self.max_value, self.norm = num_classes, max_value, max_value
        self.layout = Layout("b c h w", in_chans, (800, 1344))
        strides = geometry.TRUE_STRIDES if true_strides else geometry.STRIDES
        neuron = partial(closed_neuron, max_value, 1)
        self.backbone = DetectionBackbone(embed_dim, in_chans, max_value=max_value, **backbone)
        self.neck = Neck(embed_dim, fpn_channels, partial(NeckNeuron, max_value, neck_eval_max))
        self.rpn_head = RPNHead(fpn_channels, neuron, rpn_samples, strides)
        self.roi_head = RoIHead(fpn_channels, fc_channels, num_classes, neuron, roi_samples, strides[:4])

    def forward(
        self,
        images: Tensor,
        targets: Sequence[Target] | None = None,
        sizes: Sequence[Size] | None = None,
        originals: Sequence[Size] | None = None,
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, detections in evaluation.

        Args:
            images: `[B, in_chans, H, W]`.
            targets: the objects of each image, for training.
            sizes: (H, W) of each image before padding; by default nothing was padded.
            originals: (H, W) in which detections are returned; by default `sizes`.

        Returns:
            In training `loss_rpn_cls`, `loss_rpn_bbox`, `loss_cls`, `acc`, `loss_bbox`, `loss_mask`; in evaluation for
            each image `boxes` `[n, 4]`, `scores` `[n]`, `labels` `[n]`, `masks` bool `[n, H, W]`.

        Raises:
            ValueError: training without targets.
        """
        sizes = [tuple(images.shape[2:])] * len(images) if sizes is None else sizes
        maps = [single(x) for x in self.neck(self.backbone(images))]
        logits, deltas = ([single(x) for x in outputs] for outputs in self.rpn_head(maps))
        if not self.training:
            proposals = self.rpn_head.proposals(logits, deltas, sizes, 1000)
            return self.roi_head.detections(maps[:4], proposals, sizes, sizes if originals is None else originals)
        if targets is None:
            raise ValueError("training needs targets: boxes, labels and masks of each image")
        losses = self.rpn_head.losses(logits, deltas, targets, [padded(size) for size in sizes])
        proposals = self.rpn_head.proposals(logits, deltas, sizes, 2000)
        return losses | self.roi_head.losses(maps[:4], proposals, targets)

    def with_all_regions(self, images: Tensor) -> None:
        """Run every layer on as many regions as an image can have, 1000 boxes and 100 masks, whatever is in it."""
        maps = self.neck(self.backbone(images))
        self.rpn_head(maps)
        width = maps[0].shape[1]
        self.roi_head.bbox_head(images.new_zeros(1000 * len(images), width, BOX_SIDE, BOX_SIDE))
        self.roi_head.mask_head(images.new_zeros(100 * len(images), width, MASK_SIDE, MASK_SIDE))


def single(x: Tensor) -> Tensor:
    """`x` in single precision at least: places and overlaps are not for half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def padded(size: Size, divisor: int = 32) -> Size:
    """`size` raised to multiples of `divisor`."""
    height, width = (-(-side // divisor) * divisor for side in size)
    return height, width


def fed(neuron: Neuron, layer: nn.Module) -> nn.Sequential:
    """A neuron and the layer that it feeds, under the release's keys `1.0`."""
    return nn.Sequential(neuron(), nn.Sequential(layer))


def fed_conv(neuron: Neuron, conv: nn.Module, **after: nn.Module) -> nn.Sequential:
    """`fed` of a convolution that the release wraps with what comes `after` it, under the keys `1.0.conv`."""
    return fed(neuron, nn.Sequential(OrderedDict(conv=conv, **after)))


def normal(layer: nn.Module, std: float) -> nn.Module:
    """`layer` with weights of N(0, std^2) and bias 0."""
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer


def flat(x: Tensor, values: int) -> Tensor:
    """`[B, 3 values, H, W]` as `[B, 3 H W, values]` in the order of the anchors."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, values)
