"""Geometry of Mask R-CNN as SDT V3's detector has it; boxes are corners (x1, y1, x2, y2) in pixels, `[N, 4]`.

Anchors are not rounded, size changes are clamped on both sides, and an object also takes every anchor that covers it
best. The rest is torchvision's.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align

STRIDES = (4, 8, 16, 32, 64)
"""Pixels between anchors of the five levels, as the release states them."""
TRUE_STRIDES = (4, 8, 16, 16, 32)
"""What they are: the last stage of the backbone does not shrink its map."""
RATIOS = (0.5, 1.0, 2.0)
"""Height over width of the anchors at each place."""
LARGEST_CHANGE = math.log(1000 / 16)
"""Of the logarithm of a side."""
RPN_CODER = BoxCoder((1.0, 1.0, 1.0, 1.0))
ROI_CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))


def level_anchors(size: Sequence[int], stride: int, side: float, like: Tensor) -> Tensor:
    """Anchors of a map of `size` (H, W), three around each (x, y) `stride`: `[3 H W, 4]` by row, column and ratio.

    An anchor of ratio r is side sqrt(r) high and side / sqrt(r) wide. `like` gives type and device.
    """
    corners = [[-(r**-0.5), -(r**0.5), r**-0.5, r**0.5] for r in RATIOS]
    half = torch.tensor(corners, dtype=torch.float32).to(like) * side / 2  # in single precision, as in the release
    y, x = (stride * torch.arange(n, dtype=like.dtype, device=like.device) for n in size)
    y, x = torch.meshgrid(y, x, indexing="ij")
    centres = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
    return (centres + half).reshape(-1, 4)


def inside(size: Sequence[int], stride: int, image: Sequence[int], device: torch.device) -> Tensor:
    """Which anchors of `level_anchors` learn: those of the first ceil(H / stride) x ceil(W / stride) cells, `[3 H W]`.

    `image` is (H, W) of the padded image.
    """
    y, x = (torch.arange(n, device=device) < -(-pixels // stride) for n, pixels in zip(size, image, strict=True))
    return (y[:, None] & x).flatten().repeat_interleave(len(RATIOS))


def encode(coder: BoxCoder, objects: Tensor, boxes: Tensor) -> Tensor:
    """What moves `boxes` onto `objects`: (dx / w, dy / h, log w' / w, log h' / h) times the coder's weights."""
    return coder.encode_single(objects, boxes)


def decode(coder: BoxCoder, deltas: Tensor, boxes: Tensor, size: Sequence[int]) -> Tensor:
    """`boxes` moved by `deltas` `[N, 4 K]` of K classes and cut at an image of `size` (H, W): `[N, K, 4]`."""
    limit = deltas.new_tensor([math.inf, math.inf, *(LARGEST_CHANGE * weight for weight in coder.weights[2:])])
    limit = limit.repeat(deltas.shape[1] // 4)
    moved = coder.decode_single(deltas.clamp(-limit, limit), boxes)
    return clip_boxes_to_image(moved.unflatten(1, (-1, 4)), tuple(size))


def match(iou: Tensor, positive: float, negative: float, least: float) -> Tensor:
    """Which object each box stands for, from 1, of `iou` `[objects, boxes]`; 0 background, -1 neither: `[boxes]`.

    A box takes the object that it covers best from `positive` on and is background below `negative`. Besides, each
    object takes all boxes that cover it best, if they do so by at least `least`.
    """
    objects, boxes = iou.shape
    if not objects:
        return torch.zeros(boxes, dtype=torch.long, device=iou.device)
    best, which = iou.max(0)
    matched = torch.where(best >= positive, which + 1, -(best >= negative).long())
    for number, row in enumerate(iou, start=1):
        if boxes and (top := row.max()) >= least:
            matched[row == top] = number
    return matched


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, most: int) -> Tensor:
    """Indices of the `most` best boxes of which no better one of its group has a larger overlap than `threshold`.

    In falling order of scores; equal ones stay in the order in which they came.
    """
    kept = batched_nms(boxes, scores, groups, threshold).sort().values
    return kept[scores[kept].sort(descending=True, stable=True).indices[:most]]


def roi_levels(boxes: Tensor, levels: int = 4) -> Tensor:
    """The map that a region is read from: floor(log2(sqrt(w h) / 56)), within 0 .. `levels` - 1."""
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    return torch.floor(torch.log2(sides / 56 + 1e-6)).clamp(0, levels - 1).long()


def roi_features(maps: Sequence[Tensor], regions: Sequence[Tensor], strides: Sequence[int], side: int) -> Tensor:
    """Features of all regions, a tensor of boxes for each image: `[regions, C, side, side]`, read as `roi_levels` says.

    `maps` `[B, C, H, W]` are taken to have `strides`, whatever they have.
    """
    boxes = torch.cat(list(regions))
    levels = roi_levels(boxes, len(maps))
    image = torch.cat([boxes.new_full((len(each), 1), number) for number, each in enumerate(regions)])
    rois = torch.cat([image, boxes], 1)
    features = maps[0].new_zeros(len(rois), maps[0].shape[1], side, side)
    for level, (x, stride) in enumerate(zip(maps, strides, strict=True)):
        chosen = torch.where(levels == level)[0]
        read = roi_align(x, rois[chosen].to(x.dtype), side, 1 / stride, sampling_ratio=0, aligned=True)
        features = features.index_put((chosen,), read)
    return features


def mask_targets(masks: Tensor, objects: Tensor, regions: Tensor, side: int) -> Tensor:
    """What of the mask of its object, one of `masks` `[G, H, W]`, lies in each region: 0 and 1, `[R, side, side]`."""
    rois = torch.cat([objects[:, None].to(regions.dtype), regions], 1)
    read = roi_align(masks[:, None].to(regions.dtype), rois, side, 1.0, sampling_ratio=0, aligned=True)
    return (read[:, 0] >= 0.5).to(regions.dtype)


def paste(masks: Tensor, boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Masks `[n, M, M]` of values 0..1 put into their boxes of an image of `size` (H, W), from 0.5 on: `[n, H, W]`.

    Read bilinearly at the centres of pixels in single precision, as in the release; only the pixels that a box touches
    are.
    """
    (height, width), masks, boxes = size, masks.float(), boxes.float()
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool, device=masks.device)
    for target, mask, box in zip(pasted, masks, boxes, strict=True):
        x1, y1, x2, y2 = box.tolist()
        rows = slice(max(math.floor(y1), 0), min(math.ceil(y2), height))
        columns = slice(max(math.floor(x1), 0), min(math.ceil(x2), width))
        if x2 <= x1 or y2 <= y1:
            continue
        y = torch.arange(rows.start, rows.stop, device=box.device) + 0.5
        x = torch.arange(columns.start, columns.stop, device=box.device) + 0.5
        y, x = (y - y1) / (y2 - y1) * 2 - 1, (x - x1) / (x2 - x1) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)
        target[rows, columns] = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0] >= 0.5
    return pasted
