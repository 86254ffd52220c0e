"""Networks in parts take the steps of whole ones."""

from pathlib import Path

import pytest

from tests.programs import run_pair
from tools.papers import cards

SCRIPT = Path(__file__).with_name("sharded_steps.py")


@pytest.mark.slow
def test_networks_in_parts_that_compute_blocks_again_train_like_whole_ones():
    names = [family.example for card in cards().values() for family in card.families if "_det_" not in family.example]
    for result in run_pair(SCRIPT):
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("is the same") == len(names)
