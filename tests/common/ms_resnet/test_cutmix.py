"""CutMix draws what the GAC trainers drew and mixes images and targets in the same proportion."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.ms_resnet.cutmix import CutMix, draw_box
from common.training.losses import smooth_cross_entropy
from tests.parity.harness import close, fixtures, load

FILES = fixtures("gac", "mod_cutmix_seed*")


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.mark.parametrize("file", FILES)
def test_cifar_draws_equal_the_original(file):
    meta, expected = load(file)
    np.random.seed(meta["seed"])
    assert np.random.rand() == expected["cifar_r"].item()  # the epoch's coin
    assert [draw_box(32, 32, meta["beta"]) for _ in range(20)] == [
        tuple(box) for box in expected["cifar_box"].int().tolist()
    ]


@pytest.mark.parametrize("file", FILES)
def test_imagenet_draws_equal_the_original(file):
    meta, expected = load(file)
    np.random.seed(meta["seed"])
    cutmix = CutMix(2, meta["beta"], 1.0, "batch")
    draws = [(cutmix.coin(epoch=0), draw_box(224, 224, meta["beta"])) for _ in range(20)]
    assert [coin for coin, _ in draws] == expected["imagenet_r"].tolist()
    assert [list(box) for _, box in draws] == expected["imagenet_box"].tolist()


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("trainer, side", [("cifar", 32), ("imagenet", 224)])
def test_lambda_equals_the_original(file, trainer, side, monkeypatch):
    meta, expected = load(file)
    monkeypatch.setattr(torch, "randperm", lambda n, device: torch.tensor([1, 0]))
    np.random.seed(meta["seed"])
    if trainer == "cifar":
        np.random.rand()  # the epoch's coin
    cutmix = CutMix(2, meta["beta"], 1.0, "epoch" if trainer == "cifar" else "batch")
    images, labels = torch.zeros(2, 1, side, side, dtype=torch.float64), torch.tensor([0, 1])
    lambdas = [cutmix(images, labels, epoch=0)[1][0, 0] for _ in range(20)]
    close(torch.stack(lambdas), expected[f"{trainer}_lam"], "lambda")


def mixed_batch(**settings):
    labels = torch.tensor([0, 1, 2, 3])
    images = labels.double().view(4, 1, 1, 1).expand(4, 3, 10, 12)
    return (images, labels, *CutMix(5, probability=1.0, **settings)(images, labels, epoch=0))


def test_target_is_the_share_of_pixels_of_each_class():
    _, _, mixed, targets = mixed_batch()
    pixels = F.one_hot(mixed[:, 0].long(), 5).double().mean((1, 2))
    torch.testing.assert_close(targets, pixels)


def test_something_is_mixed_and_the_caller_keeps_its_images():
    images, labels, mixed, _ = mixed_batch()
    assert not torch.equal(mixed, images)
    assert torch.equal(images[:, 0, 0, 0].long(), labels)


def test_smoothed_loss_of_the_target_is_the_weighted_sum_of_both_losses():
    labels, other, share = torch.tensor([0, 1]), torch.tensor([1, 0]), 0.3
    logits = torch.randn(2, 5, dtype=torch.float64)
    target = torch.lerp(F.one_hot(labels, 5).double(), F.one_hot(other, 5).double(), share)
    weighted = (1 - share) * smooth_cross_entropy(logits, labels) + share * smooth_cross_entropy(logits, other)
    torch.testing.assert_close(smooth_cross_entropy(logits, target), weighted)


def was_mixed(cutmix, epoch):
    images, labels = torch.randn(2, 3, 4, 4), torch.tensor([0, 1])
    return cutmix(images, labels, epoch)[1] is not labels


def test_an_epoch_is_mixed_as_a_whole_or_not_at_all():
    cutmix = CutMix(2)
    epochs = [{was_mixed(cutmix, epoch) for _ in range(4)} for epoch in range(8)]
    assert all(len(epoch) == 1 for epoch in epochs)
    assert {True} in epochs
    assert {False} in epochs


def test_batches_decide_for_themselves():
    cutmix = CutMix(2, scope="batch")
    assert {was_mixed(cutmix, epoch=0) for _ in range(16)} == {True, False}


def test_beta_zero_mixes_nothing():
    assert not was_mixed(CutMix(2, beta=0.0, probability=1.0), epoch=0)


def test_unknown_scope_is_refused():
    with pytest.raises(ValueError, match="'epoch' or 'batch'"):
        CutMix(2, scope="run")
