"""Every data set states itself on a card, and nothing else knows it by its class."""

import re
from pathlib import Path

import pytest

from tools.data_sets import data_sets

ROOT = Path(__file__).parents[2]


def test_frames_come_first_and_pictures_last():
    assert list(data_sets()) == [
        "dvs128", "cifar10dvs", "ncaltech101", "dvs_gesture", "cifar10dvs_mat", "dvs_gait", "hardvs",
        "coco", "ade20k", "cifar10", "cifar100", "imagenet",
    ]  # fmt: skip


@pytest.mark.parametrize("name", data_sets())
@pytest.mark.parametrize("fact", ["name", "title", "url", "folder", "terms"])
def test_a_card_states_what_a_user_has_to_know(name, fact):
    assert getattr(data_sets()[name], fact).strip()


def test_no_program_asks_which_class_a_data_set_has():
    sources = [path for folder in ("common", "tools") for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in sources if re.search(r"\bcls is\b", path.read_text())] == []
