"""Mixing of clips."""

import torch
from timm.data import Mixup

from common.training import labels_of, mix_frames


def test_a_box_of_cutmix_goes_through_all_frames_and_channels_of_a_clip():
    torch.manual_seed(0)
    frames = torch.arange(2.0)[:, None, None, None, None].expand(2, 3, 2, 16, 16).contiguous()
    mix = Mixup(mixup_alpha=0, cutmix_alpha=1.0, label_smoothing=0, num_classes=2)
    mixed, target = mix_frames(mix, frames.clone(), torch.tensor([0, 1]))
    box = mixed[0, 0, 0]
    assert mixed.shape == frames.shape
    assert 0 < box.sum() < box.numel()
    assert (mixed[0] == box).all()
    torch.testing.assert_close(target[0], torch.tensor([1 - box.mean(), box.mean()]))
    assert labels_of(target).shape == (2,)
    assert labels_of(torch.tensor([3])).tolist() == [3]
