"""A newcomer's way: every shell command of docs/own_data.md, as it stands there, from a folder with data to a report.

    python ci/newcomer.py                             on data that it makes itself
    python ci/newcomer.py --real ../shared/data       on pictures of CIFAR10 and recordings of N-MNIST, where they lie
    python ci/newcomer.py --output way --epochs 1     keep everything there; shorter than the page says

The data have the names of the page: pictures of cats and dogs, recordings of two and of three other classes, and in a
store of weights something that stands for the published ones. It goes on to the end and then says what failed.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "own_data.md"
SMALL_CAMERA = {"--downsample 4": "--downsample 1", "--input-shape 4 1 2 45 60": "--input-shape 4 1 2 34 34"}
"""What N-MNIST, of 34 x 34 pixels, needs in place of what N-Caltech101 has."""
PICTURES = {"train": range(6), "val": range(6, 9)}
"""Numbers of the made pictures of each class; of real ones all are taken."""
CLASSES = {"recordings": ("up", "down"), "other_recordings": ("left", "right", "still")}
PER_CLASS = 10
"""Recordings that are made."""
PUBLISHED = 7
"""Classes of the weights that stand for the published ones."""


def commands(*, real: bool = False) -> list[list[str]]:
    """The words after `python` of each command of the page; for `real` data with the sizes of their camera."""
    text = PAGE.read_text()
    for usual, small in SMALL_CAMERA.items() if real else ():
        text = text.replace(usual, small)
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("python ")]
    return [shlex.split(line)[1:] for line in lines]


def prepare(folder: Path, real: Path | None = None) -> None:
    """Put into `folder` what the page expects, made from the files in `real` if given, and a store of weights."""
    for part, numbers in PICTURES.items():
        for number, name, picture in pictures(part, numbers, real):
            path = folder / "pictures" / part / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    sources = recordings(folder / "raw", real)
    for home, names in CLASSES.items():
        for name, source in zip(names, cycle(sources)):
            (folder / home / name).mkdir(parents=True)
            for number, recording in enumerate(sorted(source.glob("*.bin"))):
                shutil.copy(recording, folder / home / name / f"{number:04}.bin")
    write_weights(folder / "torch" / "hub" / "spiking-papers" / "sdt_v3_5m.safetensors")


def pictures(part: str, numbers: range, real: Path | None) -> Iterator[tuple[int, str, Image.Image]]:
    """Number, class and picture."""
    rng = np.random.default_rng(len(numbers))
    for shade, name in enumerate(("cat", "dog")):
        if real:
            found = sorted((real / "cifar10_jpg" / part.replace("val", "test") / name).glob("*.jpg"))
            yield from ((number, name, Image.open(path)) for number, path in enumerate(found))
            continue
        for number in numbers:
            pixels = rng.integers(120 * shade, 120 * shade + 120, (72, 80, 3), dtype=np.uint8)
            yield number, name, Image.fromarray(pixels)


def recordings(folder: Path, real: Path | None) -> list[Path]:
    """Folders with ATIS recordings of a class each."""
    if real:
        return sorted((real / "nmnist_small" / "Train").iterdir())
    from common.archives import extract
    from common.datasets.card import cards

    raw = cards()["ncaltech101"].write_tiny(folder, classes=2, per_class=PER_CLASS)
    archive = next(path for path in raw.iterdir() if path.suffix != ".json")
    files = extract(archive, folder / "files", suffixes=(".bin",))
    return sorted({path.parent for path in files.rglob("*.bin")})


def write_weights(path: Path) -> None:
    """Random weights of other classes."""
    import timm
    from safetensors.torch import save_file

    import sdt_v3  # noqa: F401  registers the networks

    state = timm.create_model("sdt_v3_5m", num_classes=PUBLISHED).state_dict()
    path.parent.mkdir(parents=True)
    save_file({key: value.clone() for key, value in state.items()}, path)


def walk(folder: Path, epochs: int | None, way: list[list[str]]) -> int:
    """Run the commands of the `way` in `folder`, print what each took and said last; how many failed."""
    environment = os.environ | {"TORCH_HOME": str(folder / "torch"), "OMP_WAIT_POLICY": "passive"}
    failed = 0
    for script, *arguments in way:
        shorter = ["--epochs", str(epochs)] if epochs and "--epochs" in arguments else []
        begin = time.monotonic()
        words = [sys.executable, str(ROOT / script), *arguments, *shorter]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        failed += bool(done.returncode)
        state = "FAILED" if done.returncode else "ok"
        print(f"{state:7}{time.monotonic() - begin:5.0f} s  {script} {' '.join(arguments)}")
        said = (done.stderr if done.returncode else done.stdout).strip().splitlines()[-6:]
        print("".join(f"         | {line}\n" for line in said), flush=True)
    return failed


def main() -> int:
    """Walk and return the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, help="folder with cifar10_jpg and nmnist_small")
    parser.add_argument("--output", type=Path, help="folder for everything, not there yet (a temporary one)")
    parser.add_argument("--epochs", type=int, help="of each training (as the page says)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.output or Path(temporary) / "way").resolve()
        folder.mkdir(parents=True)
        prepare(folder, options.real and options.real.resolve())
        way = commands(real=bool(options.real))
        failed = walk(folder, options.epochs, way)
    print(f"{len(way)} commands, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
