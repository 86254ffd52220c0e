import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from common.datasets.n_caltech101 import NCaltech101
from common.datasets.tiny import write_tiny

TOOL = Path(__file__).parents[2] / "tools" / "convert_dataset.py"


@pytest.fixture
def convert(capsys):
    """Call the tool in this process: (exit status, standard output, standard error)."""
    main = runpy.run_path(str(TOOL))["main"]
    return lambda *arguments: (main([str(argument) for argument in arguments]), *capsys.readouterr())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_tiny("ncaltech101", tmp_path_factory.mktemp("source"), classes=2, per_class=10)


def test_an_archive_becomes_a_loadable_data_set(source, tmp_path):
    command = [sys.executable, TOOL, "ncaltech101", "--source", source / "Caltech101.zip", "--output", tmp_path]
    command += ["-T", "5", "--split-by", "time", "--downsample", "6", "--workers", "2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    frames, _ = NCaltech101(tmp_path, False, 5, "time", downsample=6)[0]
    assert (result.returncode, result.stdout, frames.shape) == (0, f"ready: {tmp_path}\n", (5, 2, 30, 40))


def test_a_mistake_ends_in_one_line_and_a_failure(convert, tmp_path):
    status, out, error = convert("cifar10dvs", "--source", tmp_path / "none", "--output", tmp_path / "out", "-T", 4)
    assert (status, out, error.count("\n")) == (1, "", 1)


def published_fragment(folder):
    """A source that claims to be N-Caltech101 and holds one of its 101 classes."""
    (folder / "BACKGROUND_Google").mkdir(parents=True)
    for number in range(10):
        (folder / "BACKGROUND_Google" / f"image_{number:04d}.bin").write_bytes(bytes(5))
    return folder


def test_missing_recordings_are_a_warning(convert, tmp_path):
    source = published_fragment(tmp_path / "in")
    status, _, error = convert("ncaltech101", "--source", source, "--output", tmp_path / "o", "-T", 2, "--workers", 1)
    assert (status, error) == (0, "warning: ncaltech101: class folders: expected 101, found 1\n")


def test_missing_recordings_are_an_error_when_strict(convert, tmp_path):
    source = published_fragment(tmp_path / "in")
    status, _, error = convert("ncaltech101", "--source", source, "--output", tmp_path / "o", "-T", 2, "--strict")
    assert (status, error) == (1, "error: ncaltech101: class folders: expected 101, found 1\n")
