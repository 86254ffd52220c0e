import pytest
import torch
from torch.nn.functional import log_softmax

from common.training import mse_one_hot, smooth_cross_entropy, tet_cross_entropy

T, B, K = 3, 4, 5


@pytest.fixture
def outputs():
    return torch.randn(T, B, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 4, 2, 2])
ONE_HOT = torch.eye(K, dtype=torch.float64)[LABELS]


def test_mse_compares_the_time_mean_with_the_one_hot_label(outputs):
    expected = ((outputs.mean(0) - ONE_HOT) ** 2).mean()
    torch.testing.assert_close(mse_one_hot(outputs, LABELS), expected)


def test_mse_of_outputs_without_time(outputs):
    expected = ((outputs[0] - ONE_HOT) ** 2).mean()
    torch.testing.assert_close(mse_one_hot(outputs[0], LABELS, time_dim=None), expected)


def test_tet_is_the_mean_of_the_cross_entropy_of_every_step(outputs):
    expected = -(ONE_HOT * log_softmax(outputs, -1)).sum(-1).mean()
    torch.testing.assert_close(tet_cross_entropy(outputs, LABELS), expected)


@pytest.mark.parametrize("loss", [mse_one_hot, tet_cross_entropy])
def test_the_time_axis_can_be_the_second(outputs, loss):
    torch.testing.assert_close(loss(outputs.transpose(0, 1), LABELS, time_dim=1), loss(outputs, LABELS))


def test_smoothing_spreads_a_tenth_over_all_classes(outputs):
    target = 0.9 * ONE_HOT + 0.1 / K
    expected = -(target * log_softmax(outputs[0], -1)).sum(-1).mean()
    torch.testing.assert_close(smooth_cross_entropy(outputs[0], LABELS), expected)
