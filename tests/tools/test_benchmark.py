"""The benchmark as a rehearsal: what it measures, checks and writes, not how fast anything is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import UserError
from common.layers import SpikeLinear
from common.layout import Layout
from tests.programs import run_program
from tools import benchmark
from tools.benchmarks import events, lif, measure, network, report, trained


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Fresh processes take seconds each; the last test starts them."""
    monkeypatch.setattr(measure, "in_fresh_process", lambda function, *arguments: function(*arguments))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def suites():
    """What each suite measures in a rehearsal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "in_fresh_process", lambda function, *arguments: function(*arguments))
        patch.setattr(measure, "side_by_side", lambda function, lists: [function(*given) for given in lists])
        patch.setattr(measure, "return_freed_memory", lambda: None)
        return {name: run(True) for name, run in benchmark.SUITES.items()}


def variants(rows, case):
    return {row.variant for row in rows if row.case.startswith(case)}


@pytest.mark.parametrize("suite", benchmark.SUITES)
def test_every_case_of_a_suite_has_our_time_and_that_of_a_peer(suites, suite):
    rows = suites[suite]["rows"]
    assert all(len(variants(rows, row.case) - {"bound"}) >= 2 and "ours" in variants(rows, row.case) for row in rows)


@pytest.mark.parametrize("suite", benchmark.SUITES)
def test_the_median_lies_within_the_spread(suites, suite):
    assert all(0 < row.min_ms <= row.median_ms <= row.max_ms for row in suites[suite]["rows"])


def test_neurons_are_compared_with_spikingjelly_and_the_loop_of_the_authors(suites):
    rows = suites["lif"]["rows"]
    assert {"spikingjelly", "PyTorch loop", "bound"} <= variants(rows, "LIF")
    assert variants(rows, "MA-SNN") == {"ours", "PyTorch loop", "bound"}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is measured on Linux only")
def test_peak_memory_is_known_for_every_neuron(suites):
    assert all(peak["size"] >= 0 for peak in suites["lif"]["memory"])


def test_everybody_counts_the_same_spikes():
    case = lif.QUICK["LIF, ATan, T=4"]
    x, _ = lif.data(case)
    found = lif.neurons(case, quick=True)
    same = [found[name](x) for name in ("ours", "PyTorch loop", "spikingjelly")]
    assert all(torch.equal(spikes, same[0]) for spikes in same)


def test_networks_that_differ_are_not_timed(monkeypatch, tmp_path):
    case = network.QUICK["sma_vgg8_cifar10dvs"]
    monkeypatch.setitem(network.QUICK, "broken", replace(case, every_step=lambda x: x + 1))
    with pytest.raises(UserError, match="broken: logits of 'PyTorch loop, unfolded' differ from ours"):
        network.check("broken", tmp_path, True)


def bright(x):
    return (x.amax(1) > 0).float().flatten(1)


class Readout(nn.Module):
    """A network that learns the digits in seconds: a linear layer over the pixels that are bright."""

    def __init__(self):
        super().__init__()
        self.layer = SpikeLinear(16 * 16, trained.CLASSES)

    def forward(self, x):
        return self.layer(bright(x))


def test_networks_learn_before_they_are_timed_and_are_kept(tmp_path):
    layout, model, again = Layout("b c h w", 3, (16, 16)), Readout(), Readout()
    facts = trained.keep(tmp_path / "readout.pt", model, layout, epochs=20)
    assert facts["right"] > 0.8 and 1 < facts["epochs"] <= 20
    assert trained.keep(tmp_path / "readout.pt", again, layout, epochs=20) == facts
    assert torch.equal(again.layer.weight, model.layer.weight)
    x, labels = trained.samples(layout, 2)
    assert labels.tolist() == [*range(10)] * 2
    density = trained.densities(model, x)
    assert density["density"] == pytest.approx(bright(x).mean().item()) and density["least"] == density["most"]
    with pytest.raises(UserError, match="belongs to another run: epochs"):
        trained.keep(tmp_path / "readout.pt", again, layout, epochs=5)


def test_results_that_differ_are_not_timed():
    with pytest.raises(UserError, match="frames by number: the results differ"):
        events.check_same("frames by number", np.zeros(3), np.ones(3))


def test_variants_take_turns():
    seen = []
    works = {name: measure.timed("time", lambda name=name: seen.append(name)) for name in "ab"}
    measure.interleaved("suite", "case", measure.Setting(1, False), lambda: 0.0, works, 2, warmups=1)
    assert "".join(seen) == "ababab"


def test_peak_memory_sees_what_is_allocated_on_the_way():
    peak = measure.peak_memory(lambda: np.ones(32 << 20, np.uint8).sum())
    assert peak is None or 31 << 20 <= peak < 40 << 20


def test_similar_work_and_absent_peers_are_named(suites, monkeypatch):
    run = {"machine": measure.machine(), "absent": ["snntorch"], "rehearsal": True, "suites": suites}
    text = report.markdown(run)
    assert "- snntorch: not installed" in text
    assert "- norse: has the SuperSpike surrogate" in text
    assert "compiled and emulated only" in text


def test_a_dead_process_is_one_line(monkeypatch):
    def died(quick):
        raise UserError("a measuring process died")

    monkeypatch.setitem(benchmark.SUITES, "lif", died)
    with pytest.raises(UserError, match="a measuring process died"):
        benchmark.main(["lif"])


def test_as_a_user_runs_it(tmp_path):
    files = {kind: tmp_path / "out" / f"run.{kind}" for kind in ("json", "png", "md")}
    flags = ["--json", files["json"], "--chart", files["png"], "--markdown", files["md"]]
    done = run_program(benchmark.__file__, "events", "--quick", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "| frames by time | 1 thread |" in done.stdout
    assert json.loads(files["json"].read_text())["suites"]["events"]["rows"][0]["suite"] == "events"
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert "![Time of every variant over ours](run.png)" in files["md"].read_text()
