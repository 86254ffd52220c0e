import re

import pytest

from common.errors import UserError
from tools import simulate_scale
from tools.networks import build
from tools.simulate_scale import bounds, exchange_time

SMALL = ["sma_vgg8_cifar10dvs", "--kwargs", "T=2", "width=0.0625", "--batch", "2"]


def test_the_exchange_of_a_ring():
    assert exchange_time(1, 10**9, 1e9, 1e-3) == 0
    assert exchange_time(2, 10**9, 1e9, 1e-3) == pytest.approx(1.002)  # every device sends the whole once
    assert exchange_time(64, 10**9, 1e9, 0) == pytest.approx(2 * 63 / 64)


def test_an_exchange_is_hidden_behind_the_step_or_not():
    assert bounds(2.0, 0.5) == (2.0, 2.5)
    assert bounds(0.5, 2.0) == (2.0, 2.5)


def test_the_table_follows_from_a_given_step(capsys):
    simulate_scale.main([*SMALL, "--step", "100", "--bandwidth", "1", "--latency", "0"])
    printed = capsys.readouterr().out
    size = float(re.search(r"([\d.]+) MiB of gradients", printed)[1]) * 2**20
    rows = [[float(word) for word in re.findall(r"[\d.]+", line)] for line in printed.splitlines() if " %" in line]
    assert [row[0] for row in rows] == [1, 2, 4, 8, 16, 32, 64]
    assert rows[0][1] == rows[0][2] == 20
    assert rows[3][2] == 160
    assert rows[3][1] == pytest.approx(16 / (0.1 + exchange_time(8, size, 1e9, 0)), rel=1e-2)


def test_a_step_is_measured_here(capsys):
    simulate_scale.main(SMALL)
    assert "measured here" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--batch", "0"], ["--bandwidth", "0"], ["--latency", "-1"], ["--step", "-3"]])
def test_impossible_numbers_are_refused(words):
    with pytest.raises(UserError, match="must be positive"):
        simulate_scale.main([*SMALL, *words])


def test_what_published_networks_take_is_a_row_for_each(capsys, monkeypatch):
    small = ("sma_vgg8_cifar10dvs", ["T=2", "width=0.0625"], 2, 7_200_000)
    monkeypatch.setattr(simulate_scale, "PUBLISHED", {"SMA": small, "other": ("none", [], 1, 1)})
    monkeypatch.setattr(simulate_scale, "in_fresh_process", lambda work, *given: work(*given))
    monkeypatch.setattr(simulate_scale, "return_freed_memory", lambda: None)
    monkeypatch.setattr(simulate_scale, "timed", lambda step: [0.5])
    simulate_scale.main(["--published", "SM"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    cells = [word.strip() for word in rows[1].split("|")[1:-1]]
    assert len(rows) == 2
    model = build(*small[:2])
    assert float(cells[1]) == pytest.approx(sum(p.numel() for p in model.parameters()) * 4e-9, abs=6e-4)
    assert cells[0] == "SMA" and cells[3:] == ["250", "500"]


@pytest.mark.parametrize("words", [[], ["sdt_v3_19m", "--published"]])
def test_a_network_or_the_published_ones(words):
    with pytest.raises(UserError, match="the name of a network, or --published"):
        simulate_scale.main(words)


@pytest.mark.slow
def test_the_prediction_stands_beside_what_processes_take(capsys):
    simulate_scale.main([*SMALL, "--check"])
    printed = capsys.readouterr().out
    assert "between two processes" in printed
    assert [line.split()[0] for line in printed.splitlines() if line.endswith(" ms")] == ["1", "2", "4"]
