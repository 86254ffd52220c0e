"""A fiftieth of every attack."""

import pytest

from tests.attack.faults import faults
from tests.attack.files import fuzzers
from tests.attack.kills import killers

pytestmark = pytest.mark.slow
ATTACKS = {name: (attack, 40) for name, attack in fuzzers().items()}
ATTACKS |= {name: (attack, 2) for name, attack in {**killers(), **faults()}.items()}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.filterwarnings("ignore")
def test_nothing_is_found(name, tmp_path):
    attack, trials = ATTACKS[name]
    report = attack(trials, tmp_path)
    assert report.trials >= trials and not report.findings, report
