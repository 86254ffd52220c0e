"""What a script starts from: weights of as many classes, or of another number with a new head."""

from argparse import Namespace

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.training import Process, own_name, start_from
from common.weights import write_card

ALONE = Process(0, 1, 0, torch.device("cpu"))


@pytest.mark.parametrize(
    "classes, published, tiny, name",
    [(2, True, False, "mine"), (3, False, False, "mine"), (3, True, False, None), (2, False, True, None)],
)
def test_a_run_on_own_data_has_their_name(tmp_path, classes, published, tiny, name):
    data = Namespace(classes=["one"] * classes, is_published=published)
    assert own_name(Namespace(tiny=tiny), tmp_path / "mine", data, 3) == name
    assert own_name(Namespace(tiny=tiny), None, data, 3) is None, "the default folder holds the published set"


def network(classes, width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Linear(width, 8), nn.Linear(8, classes))


@pytest.fixture
def published(tmp_path):
    model = network(5)
    torch.save(model.state_dict(), tmp_path / "published.pth")
    return tmp_path / "published.pth", model


def test_a_head_of_another_number_of_classes_is_renewed_and_said(published, capsys):
    path, there = published
    model = network(3)
    head = model[3].weight.clone()
    start_from(model, path, ALONE, testing=False)
    assert torch.equal(model[3].weight, head)
    assert torch.equal(model[0].weight, there[0].weight)
    assert torch.equal(model[2].bias, there[2].bias)
    line = capsys.readouterr().out
    assert line == f"{path} has 5 classes, here are 3: the head is new (3.weight, 3.bias)\n"


def test_weights_of_the_same_classes_are_taken_whole(published, capsys):
    path, there = published
    model = network(5)
    start_from(model, path, ALONE, testing=False)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), there.parameters(), strict=True))
    assert not capsys.readouterr().out
    start_from(model, None, ALONE, testing=False)


@pytest.mark.parametrize("model, testing", [(network(3), True), (network(3, width=6), False)])
def test_a_test_and_another_network_are_refused(published, model, testing):
    with pytest.raises(UserError, match="do not fit"):
        start_from(model, published[0], ALONE, testing=testing)


def test_a_network_that_nobody_described_has_no_card(published):
    write_card(published[0], published[1])
    assert not published[0].with_suffix(".json").exists()
