"""Detectors and segmentors by their names; what they are made of is imported when one is built."""

from collections.abc import Sequence

from torch import nn

from common.registry import register


def _detector(*args, **kwargs) -> nn.Module:
    from sdt_v3.models.mask_rcnn import MaskRCNN

    return MaskRCNN(*args, **kwargs)


def _segmentor(*args, **kwargs) -> nn.Module:
    from sdt_v3.models.semantic_fpn import SemanticFPN

    return SemanticFPN(*args, **kwargs)


@register
def sdt_v3_det_mask_rcnn_10m(embed_dim: Sequence[int] = (48, 96, 192, 240), **kwargs) -> nn.Module:
    """Mask R-CNN of 21.2 M parameters; keyword arguments as in `mask_rcnn.MaskRCNN`."""
    return _detector(embed_dim, **{"fpn_channels": 192, "fc_channels": 768} | kwargs)


@register
def sdt_v3_det_mask_rcnn_19m(embed_dim: Sequence[int] = (64, 128, 256, 360), **kwargs) -> nn.Module:
    """Mask R-CNN of 38.7 M parameters; keyword arguments as in `mask_rcnn.MaskRCNN`."""
    return _detector(embed_dim, **kwargs)


@register
def sdt_v3_seg_fpn_10m(embed_dim: Sequence[int] = (48, 96, 192, 240), **kwargs) -> nn.Module:
    """Semantic FPN of 11.5 M parameters; keyword arguments as in `semantic_fpn.SemanticFPN`."""
    return _segmentor(embed_dim, **kwargs)


@register
def sdt_v3_seg_fpn_19m(embed_dim: Sequence[int] = (64, 128, 256, 360), **kwargs) -> nn.Module:
    """Semantic FPN of 20.4 M parameters; keyword arguments as in `semantic_fpn.SemanticFPN`."""
    return _segmentor(embed_dim, **kwargs)
