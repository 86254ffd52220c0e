"""The page docs/own_data.md, every command of it, on a few pictures and recordings."""

import json
from pathlib import Path

import pytest
import timm
import torch

import sdt_v3  # noqa: F401  registers the networks
from ci.newcomer import commands, prepare
from tests.programs import run_program

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "data"


@pytest.fixture(
    params=[
        None,
        pytest.param(REAL, marks=pytest.mark.skipif(not REAL.is_dir(), reason="needs real data in ../shared/data")),
    ],
    ids=["made", "real"],
)
def way(tmp_path, request):
    """A folder with the data of the page, and its commands."""
    prepare(tmp_path, request.param)
    return tmp_path, commands(real=bool(request.param))


@pytest.mark.slow
def test_every_command_of_the_page_runs(way):
    (place, steps), printed = way, []
    for script, *arguments in steps:
        epochs = ["--epochs", "1"] if "--epochs" in arguments else []
        done = run_program(ROOT / script, *arguments, *epochs, cwd=place, TORCH_HOME=str(place / "torch"))
        assert done.returncode == 0, (script, arguments, done.stderr)
        printed.append(done.stdout)
    text = "\n".join(printed)
    assert "new are head.weight, head.bias" in text
    assert "has 2 classes, here are 3: the head is new" in text
    runs = place / "runs"
    assert torch.load(runs / "tuned" / "best.pt", weights_only=True)["head.weight"].shape[0] == 2
    assert json.loads((runs / "tuned" / "evaluation" / "best" / "metrics.json").read_text())["samples"] == len(
        [*place.glob("pictures/val/*/*")]
    )
    assert (runs / "other" / "evaluation" / "vgg8_other_recordings_SMA_max" / "confusion.png").is_file()
    card = json.loads((runs / "tuned" / "best.json").read_text())
    assert card["classes"] == json.loads((runs / "tuned" / "hub" / "model.json").read_text())["classes"]
    assert card["classes"] == ["cat", "dog"]
    assert sorted(path.name.rpartition("_")[0] for path in (runs / "data_cache").iterdir() if path.is_dir()) == [
        "ncaltech101_other_recordings",
        "ncaltech101_recordings",
    ]
    assert (runs / "curves.pdf").is_file() and (runs / "report" / "report.html").is_file()
    assert timm.create_model(f"local-dir:{runs / 'tuned' / 'hub'}", pretrained=True).head.out_features == 2
    assert {"left", "right", "still"} == {
        line.split(",")[3] for line in (runs / "other" / "predictions.csv").read_text().splitlines()[1:]
    }


def test_the_page_goes_the_whole_way():
    assert len(commands()) >= 16
    tools = {script for script, *_ in commands()}
    names = ("predict", "visualize", "export", "fetch_weights", "plot_curves", "reproduce")
    assert {f"tools/{name}.py" for name in names} <= tools
    assert all((ROOT / script).is_file() for script in tools)
