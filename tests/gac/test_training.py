"""Losses and learning rates of the GAC, MS-ResNet, SMA and Att-SNN trainers."""

import pytest
import torch
import torch.nn.functional as F

from common.training.losses import smooth_cross_entropy, tet_loss
from common.training.schedules import cosine
from tests.parity.harness import FOLDER, close, load

META, LOSSES = load(FOLDER / "gac" / "mod_losses_B4_T6_K10.npz")
SCHEDULES, RATES = load(FOLDER / "gac" / "mod_lr.npz")

CASES = {
    "ce_mean": ("ce_mean_grad", lambda z, y: F.cross_entropy(z.mean(1), y)),
    "smooth_K10": ("smooth_grad_K10", lambda z, y: smooth_cross_entropy(z.mean(1), y)),
    "tet_m1.0_l0.001": ("tet_grad_m1.0_l0.001", lambda z, y: tet_loss(z, y, 1.0, 0.001, time_dim=1)),
    "tet_m1.0_l0.05": ("tet_grad_m1.0_l0.05", lambda z, y: tet_loss(z, y, 1.0, 0.05, time_dim=1)),
    "tet_m0.5_l0.0": ("tet_grad_m0.5_l0.0", lambda z, y: tet_loss(z, y, 0.5, 0.0, time_dim=1)),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_equals_the_original(name):
    gradient, loss_fn = CASES[name]
    outputs = LOSSES["outputs"].clone().requires_grad_()
    loss = loss_fn(outputs, LOSSES["labels"])
    close(loss, LOSSES[name], name)
    close(torch.autograd.grad(loss, outputs)[0], LOSSES[gradient], gradient)


@pytest.mark.parametrize("trainer", SCHEDULES["T_max"])
def test_learning_rate_of_every_epoch_equals_the_original(trainer):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = cosine(optimizer, SCHEDULES["T_max"][trainer], offset=0 if trainer == "cifar" else 1)
    rates = []
    for _ in RATES[trainer]:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    close(torch.tensor(rates, dtype=torch.float64), RATES[trainer], trainer)
