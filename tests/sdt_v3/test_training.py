"""Losses, layer-wise rates and the schedule of the paper's recipe."""

import numpy as np
import pytest
import timm
import torch

import sdt_v3  # noqa: F401  (registers the models)
from common.training.losses import smooth_cross_entropy
from sdt_v3.recipe import distillation_loss, learning_rate, mix_losses, parameter_groups, warmup_cosine
from tests.parity.harness import FOLDER, close, fixtures, load
from tests.parity.seeded import seeded_input, seeded_labels


@pytest.mark.parametrize("file", fixtures("sdt_v3", "kd_*"))
def test_distillation_equals_the_original(file):
    meta, expected = load(file)
    k, shape, seed = meta["kwargs"], meta["input"]["shape"], meta["input"]["seed"]
    outputs, distilled, teacher = (torch.from_numpy(seeded_input("image", shape, seed + i)) for i in range(3))
    labels = torch.from_numpy(seeded_labels(shape[0], meta["classes"], meta["labels_seed"]))
    base = smooth_cross_entropy(outputs.requires_grad_(), labels, k["smoothing"])
    loss = mix_losses(base, distillation_loss(distilled.requires_grad_(), 3 * teacher, k["type"], k["tau"]), k["alpha"])
    loss.backward()
    close(loss, expected["loss"], "loss")
    close(outputs.grad, expected["grad_out"], "grad_out")
    close(distilled.grad, expected["grad_out_kd"], "grad_out_kd")


def test_unknown_distillation_is_refused():
    with pytest.raises(ValueError, match="must be 'hard' or 'soft', got 'none'"):
        distillation_loss(torch.zeros(1, 2), torch.zeros(1, 2), "none")


def test_learning_rate_equals_the_original():
    meta, expected = load(FOLDER / "sdt_v3" / "lr_schedule_base.npz")
    close([learning_rate(epoch, **meta["kwargs"]) for epoch in expected["epoch"].tolist()], expected["lr"])


def test_layer_wise_rates_equal_the_original():
    meta, expected = load(FOLDER / "sdt_v3" / "lr_groups_large_12.npz")
    k = meta["kwargs"]
    with torch.device("meta"):
        model = timm.create_model("sdt_v3_83m", embed_dim=k["embed_dim"], depth=k["depths"], kd=k["kd"], rep_ratio=1.0)
    groups = parameter_groups(model, k["weight_decay"], k["layer_decay"])
    close([group["lr_scale"] for group in groups], expected["group_lr_scale"], "group_lr_scale")
    close([group["weight_decay"] for group in groups], expected["group_weight_decay"], "group_weight_decay")
    group_of = {id(parameter): group for group in groups for parameter in group["params"]}
    parameters = dict(model.named_parameters())
    assert list(parameters) == meta["parameters"]
    for key in ("lr_scale", "weight_decay"):
        close([group_of[id(p)][key] for p in parameters.values()], expected[key], key)


def test_the_groups_hold_every_trainable_parameter_once():
    with torch.device("meta"):
        model = timm.create_model("sdt_v3_mae_83m")
    grouped = [id(p) for group in parameter_groups(model, 0.05, 0.75) for p in group["params"]]
    trainable = [id(p) for p in model.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)


def test_warm_up_of_no_epochs_starts_at_the_full_rate():
    assert np.isclose(learning_rate(0, 1.0, 0.0, warmup_epochs=0, epochs=10), 1.0)


def test_warm_up_of_all_epochs_ends_at_the_full_rate():
    assert np.isclose(learning_rate(3, 1.0, 0.0, warmup_epochs=3, epochs=3), 1.0)


@pytest.mark.parametrize(("accumulate", "fractions"), [(1, [0, 1 / 3, 2 / 3, 1, 4 / 3]), (2, [0, 1, 2])])
def test_each_step_has_the_rate_of_its_fraction_of_an_epoch(accumulate, fractions):
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": [weights[0]], "lr_scale": 0.5}, {"params": [weights[1]]}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    settings = {"lr": 0.1, "min_lr": 0.01, "warmup_epochs": 1, "epochs": 4}
    scheduler = warmup_cosine(optimizer, 3, accumulate=accumulate, **settings)
    for epoch in fractions:
        rate = learning_rate(epoch, **settings)
        assert np.allclose([group["lr"] for group in optimizer.param_groups], [0.5 * rate, rate])
        optimizer.step()
        scheduler.step()
