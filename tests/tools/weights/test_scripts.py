"""What was imported is found by the scripts under its name."""

import sys
from functools import partial
from pathlib import Path

import pytest

from common.training import run
from gac import data, train_images
from tools.papers import papers

ROOT = Path(__file__).parents[3]
ENTRY = """
[gac.ours]
status = "unpublished"
model = "gac_ms_resnet18_cifar"
create = { T = 2, num_classes = 10, width = 2 }
"""


def call(monkeypatch, script, *arguments):
    words = ("--tiny", "--width", 2, "--dataset", "cifar10", "--device", "cpu", *arguments)
    monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
    run(script)


def test_weights_are_trained_imported_and_tested_by_name(tool, lock, tmp_path, monkeypatch, capsys):
    lock(ENTRY)
    monkeypatch.setattr(data, "TINY_SET", {"per_class": 1, "test_per_class": 1})
    monkeypatch.chdir(tmp_path)
    call(monkeypatch, train_images.main, "--epochs", 1, "--output-dir", "out")
    tool("import", "ours", "out/CIFAR10_T=2.pth")
    call(monkeypatch, partial(train_images.main, testing=True), "--weights", "ours")
    assert "Test acc=" in capsys.readouterr().out


@pytest.mark.parametrize("paper", papers())
def test_no_paper_opens_weights_by_another_way(paper):
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / paper).rglob("*.py")]
    assert not any("torch.load(" in source or "safetensors" in source for source in sources)
