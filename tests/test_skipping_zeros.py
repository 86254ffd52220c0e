"""Training that skips zeros reaches the accuracy of training that does not, on the tiny data of three papers."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from common.kernels import spikes

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("gac/CIFAR/main.py", "ma_snn/DVSGestures/Att_SNN_CNN.py", "sma/vgg8_cifar10dvs_SMA.py")
SEEDS = (0, 1, 2)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(spikes.refusal()), reason=f"zeros are not skipped: {spikes.refusal()}"),
]


def accuracy(script, kind, seed, folder):
    """Test accuracy in percent after the last epoch."""
    command = [sys.executable, str(ROOT / script), "--tiny", "--seed", str(seed), "--output-dir", str(folder)]
    environment = os.environ | {"SNN_CONV": kind}
    subprocess.run(command, cwd=folder.parent, env=environment, check=True, capture_output=True, timeout=1800)
    (log,) = folder.rglob("log.jsonl")
    return json.loads(log.read_text().splitlines()[-1])["test_acc1"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_accuracies_agree_within_the_spread_of_three_seeds(script, tmp_path):
    found = {"dense": [], "spike": []}
    for kind, seed in product(found, SEEDS):
        found[kind].append(accuracy(script, kind, seed, tmp_path / f"{kind}{seed}"))
    print(script, found)
    means = [sum(values) / len(SEEDS) for values in found.values()]
    spread = max(max(values) - min(values) for values in found.values())
    assert abs(means[0] - means[1]) <= spread
