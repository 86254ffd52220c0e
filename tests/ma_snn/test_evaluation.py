"""The vote of the clips, and the two test losses."""

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.training import start
from ma_snn.evaluation import evaluate_clips, one_hot_loss


class FirstPixels(nn.Module):
    """Its two outputs are the first two pixels of a clip `[B, T, 2, X, Y]`."""

    def forward(self, frames):
        return frames[:, 0, 0, 0, :2]


def clips(*chosen):
    """Frames [clips, 1, 2, 2, 2] of a recording, in each of which `FirstPixels` chooses a class."""
    frames = torch.zeros(len(chosen), 1, 2, 2, 2)
    for frame, choice in zip(frames, chosen, strict=True):
        frame[0, 0, 0, choice] = 1
    return frames


def evaluate(*batches):
    loader = [(torch.stack(recordings), torch.tensor(labels)) for recordings, labels in batches]
    return evaluate_clips(FirstPixels(), loader, nn.MSELoss(), start("cpu"))


@pytest.mark.parametrize("chosen, accuracy", [((1, 1, 0), 100), ((1, 0, 0), 0), ((1, 1, 0, 0), 0), ((1,), 100)])
def test_a_recording_is_right_if_more_than_half_of_its_clips_are(chosen, accuracy):
    assert evaluate(([clips(*chosen)], [1]))["acc1"] == accuracy


def test_loss_is_the_mean_over_all_clips():
    result = evaluate(([clips(1, 0, 0, 0), clips(1, 1, 1, 1)], [1, 1]), ([clips(0, 0, 0, 0)], [1]))
    assert result["loss"] == pytest.approx((3 + 0 + 4) / 12)


def test_legacy_loss_is_a_mean_over_batches_and_once_more_divided_by_the_clips():
    result = evaluate(([clips(1, 0, 0, 0), clips(1, 1, 1, 1)], [1, 1]), ([clips(0, 0, 0, 0)], [1]))
    assert result["loss_legacy"] == pytest.approx((3 / 8 + 1) / 2 / 4)


def test_recordings_and_not_clips_are_counted():
    assert evaluate(([clips(0, 1, 1)], [1]))["samples"] == 1


def test_nothing_to_test_is_refused():
    with pytest.raises(UserError, match="test set is empty"):
        evaluate()


def test_training_loss_compares_with_the_one_hot_label():
    outputs = torch.tensor([[0.5, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(one_hot_loss(nn.MSELoss(), outputs, torch.tensor([0, 1])), torch.tensor(0.0625))
