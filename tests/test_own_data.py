"""The page docs/own_data.md, every command of it, on a few pictures and recordings."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import sdt_v3  # noqa: F401  registers the networks
from common.archives import extract
from common.datasets.card import cards
from tests.programs import run_program

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "own_data.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
COMMANDS = [shlex.split(line)[1:] for line in COMMANDS if line.startswith("python ")]
PUBLISHED = 7
"""Classes of the weights that stand for the published ones."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the data of the page, and as TORCH_HOME a store with the weights that it starts from."""
    folder, rng = tmp_path_factory.mktemp("place"), np.random.default_rng(0)
    for part, numbers in {"train": range(6), "val": range(6, 9)}.items():
        for shade, name in enumerate(("cat", "dog")):
            (folder / "pictures" / part / name).mkdir(parents=True)
            for number in numbers:
                pixels = rng.integers(120 * shade, 120 * shade + 120, (72, 80, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "pictures" / part / name / f"{number}.jpg")
    raw = cards()["ncaltech101"].write_tiny(folder / "raw", classes=2, per_class=10)
    files = extract(
        next(path for path in raw.iterdir() if path.suffix != ".json"), folder / "files", suffixes=(".bin",)
    )
    classes = sorted({path.parent for path in files.rglob("*.bin")})
    for home, names in {"recordings": ("up", "down"), "other_recordings": ("left", "right", "still")}.items():
        for source, name in zip(classes * 2, names, strict=False):
            shutil.copytree(source, folder / home / name)
        for recording in (folder / home).rglob("*.bin"):
            recording.rename(recording.with_name(f"{recording.stem[-4:]}.bin"))
    store = folder / "torch" / "hub" / "spiking-papers"
    store.mkdir(parents=True)
    from safetensors.torch import save_file

    state = timm.create_model("sdt_v3_5m", num_classes=PUBLISHED).state_dict()
    save_file({key: value.clone() for key, value in state.items()}, store / "sdt_v3_5m.safetensors")
    return folder


@pytest.mark.slow
def test_every_command_of_the_page_runs(place):
    printed = []
    for script, *arguments in COMMANDS:
        epochs = ["--epochs", "1"] if "--epochs" in arguments else []
        done = run_program(ROOT / script, *arguments, *epochs, cwd=place, TORCH_HOME=str(place / "torch"))
        assert done.returncode == 0, (script, arguments, done.stderr)
        printed.append(done.stdout)
    text = "\n".join(printed)
    assert "new are head.weight, head.bias" in text
    assert "has 2 classes, here are 3: the head is new" in text
    runs = place / "runs"
    assert torch.load(runs / "tuned" / "best.pt", weights_only=True)["head.weight"].shape[0] == 2
    assert json.loads((runs / "tuned" / "evaluation" / "best" / "metrics.json").read_text())["samples"] == 6
    assert (runs / "other" / "evaluation" / "vgg8_NCaltech101_SMA_max" / "confusion.png").is_file()
    assert json.loads((runs / "tuned" / "best.safetensors").with_suffix(".json").read_text())["classes"] == [
        "cat",
        "dog",
    ]
    assert {"left", "right", "still"} == {
        line.split(",")[3] for line in (runs / "other" / "predictions.csv").read_text().splitlines()[1:]
    }


def test_the_page_goes_the_whole_way():
    assert len(COMMANDS) >= 12
    tools = {script for script, *_ in COMMANDS}
    assert {f"tools/{name}.py" for name in ("predict", "visualize", "export", "fetch_weights")} <= tools
    assert all((ROOT / script).is_file() for script in tools)
