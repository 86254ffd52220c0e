"""What a person meets first: help of every verb, names with a letter too few, devices that are not served."""

import argparse
import importlib
import re
from pathlib import Path
from urllib.error import URLError

import pytest

import tools
from common.datasets import cifar
from common.errors import UserError
from common.training import Flags
from common.training.launch import start
from tools import convert_dataset, doctor, energy, plot_curves, reproduce, visualize

FOLDER = Path(tools.__file__).parent
TOOLS = sorted(path.stem for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text())


def verbs_of(main, monkeypatch):
    """The verbs of a tool, by the parser that its `main` makes."""
    found = []

    def note(parser, *_):
        found.extend(verb for action in parser._actions if isinstance(action.choices, dict) for verb in action.choices)
        raise SystemExit(0)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(argparse.ArgumentParser, "parse_args", note)
        main([])
    return found


def test_every_verb_of_every_tool_has_help(monkeypatch, capsys):
    verbs = {name: verbs_of(importlib.import_module(f"tools.{name}").main, monkeypatch) for name in TOOLS}
    assert {"fetch", "convert"} <= {*verbs["fetch_weights"]}
    assert sum(map(len, verbs.values())) >= 18
    for name, own in verbs.items():
        main = importlib.import_module(f"tools.{name}").main
        for words in ([], *([verb] for verb in own)):
            with pytest.raises(SystemExit) as exit:
                main([*words, "--help"])
            text = capsys.readouterr().out
            assert exit.value.code == 0, (name, words)
            before_the_flags = re.split(r"\n(?:positional arguments|options|verbs.*):", text)[0]
            assert "\n\n" in before_the_flags, (name, words, "does not say what it does")


@pytest.mark.parametrize(
    "main, words, near",
    [
        (visualize.main, ["spikes", "sma_vgg8_dvs12", "--input", "tiny-dvs128:0"], "did you mean sma_vgg8_dvs128"),
        (visualize.main, ["events", "tiny-dvs12:0"], "did you mean tiny-dvs128"),
        (energy.main, ["spikingformer_8_51"], "did you mean spikingformer_8_512"),
        (reproduce.main, ["plan", "gac.cifar10000"], "did you mean gac.cifar100"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(main, words, near):
    with pytest.raises(UserError, match=near):
        main(words)


@pytest.mark.parametrize(
    "main, words, near",
    [
        (convert_dataset.main, ["check", "dvs12", "x"], "did you mean dvs128"),
        (plot_curves.main, ["--run", "spikingformer_4_384_cifar10_400"], "did you mean"),
        (lambda words: Flags("").parse_args(words), ["--batch-sise", "3"], "unrecognized arguments: --batch-sise 3"),
        (lambda words: declared().parse_args(words), ["--batch-sise", "3"], "did you mean --batch-size"),
    ],
)
def test_the_command_line_too(main, words, near, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert near in capsys.readouterr().err


def declared():
    flags = Flags("")
    flags.option("-b", "--batch-size", type=int)
    return flags


@pytest.mark.parametrize("device, reason", [("mps", "Apple"), ("xpu", "Intel"), ("tpu", "unknown device")])
def test_devices_that_are_not_served_are_refused_by_name(device, reason):
    with pytest.raises(UserError, match=f"--device {device}: .*{reason}|--device {device}: {reason}"):
        start(device)


def test_no_network_is_one_line(monkeypatch, tmp_path):
    def no_server(*args, **kwargs):
        raise URLError(OSError(-2, "Name or service\nnot known"))

    monkeypatch.setattr(
        cifar, "datasets", lambda: {"cifar10": type("", (), {"url": "https://x", "__new__": no_server})}
    )
    with pytest.raises(UserError, match=r"^no network: https://x could not be fetched \(.*not known\); fetch it on"):
        cifar.download("cifar10", tmp_path)


def test_doctor_does_not_take_code_for_data(tmp_path):
    (tmp_path / "reader.py").touch()
    assert not doctor.has_data(tmp_path)
    (tmp_path / "user01.aedat").touch()
    assert doctor.has_data(tmp_path)
