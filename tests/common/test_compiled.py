"""An extension is used only if it was compiled from the sources that lie beside it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from common.compiled import LEVELS, extension_path, load_extension, source_hash
from common.events import compiled as events
from common.kernels import cpu

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", [events, cpu])
def test_an_extension_of_other_sources_is_refused(module, tmp_path):
    if not module.LIBRARY.exists():
        pytest.skip("the extensions were not compiled at install: no compiler")
    library = tmp_path / module.LIBRARY.name
    shutil.copy(module.LIBRARY, library)
    shutil.copytree(module.LIBRARY.parent / "cpp", tmp_path / "cpp")
    assert not isinstance(load_extension(library), str)
    load_extension.cache_clear()
    (tmp_path / "cpp" / "newer.h").write_text("// another line\n")
    assert "compiled from other sources" in load_extension(library)


def test_the_hash_depends_on_every_source(tmp_path):
    (tmp_path / "a.cpp").write_text("int a;")
    first = source_hash(tmp_path)
    (tmp_path / "b.h").write_text("int b;")
    assert source_hash(tmp_path) != first


@pytest.mark.parametrize(
    "capability, there, expected",
    [
        ("AVX512", ["_v4", "_v3", "_v2"], "_v4"),
        ("AVX2", ["_v4", "_v3", "_v2"], "_v3"),
        ("DEFAULT", ["_v4", "_v3", "_v2"], "_v2"),
        ("AVX512", ["_v2"], "_v2"),
        ("AVX2", ["_v4", ""], ""),
        ("AVX2", [], ""),
        ("another", ["_v4", "_v3", "_v2"], "_v2"),
    ],
)
def test_a_wheel_s_best_extension_for_the_processor_is_taken(tmp_path, monkeypatch, capability, there, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    suffix = extension_path(tmp_path / "module.py", "_kernels").name.removeprefix("_kernels")
    for level in there:
        (tmp_path / f"_kernels{level}{suffix}").touch()
    assert extension_path(tmp_path / "module.py", "_kernels").name == f"_kernels{expected}{suffix}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A folder with what a wheel of this repository installs, and with the tests."""
    if not shutil.which("g++"):
        pytest.skip("needs a compiler")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run(command, check=True)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as members:
        members.extractall(folder / "site")
    shutil.copytree(ROOT / "tests", folder / "site" / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_a_wheel_has_kernels_for_every_kind_of_processor(wheel):
    names = {str(path.relative_to(wheel)).partition(".")[0] for path in wheel.rglob("*.so")}
    kernels = {f"common/kernels/{name}_{level}" for name in ("_neurons", "_spikes") for level in LEVELS}
    assert names == kernels | {"common/events/_events"}


@pytest.mark.slow
@pytest.mark.parametrize("level, capability", LEVELS.items())
def test_the_kernels_of_every_kind_of_processor_pass_their_tests(wheel, level, capability):
    kinds = list(LEVELS.values())
    if kinds.index(capability) < kinds.index(torch.backends.cpu.get_cpu_capability()):
        pytest.skip(f"this processor has no {capability}")
    environment = os.environ | {"PYTHONPATH": str(wheel), "ATEN_CPU_CAPABILITY": capability.lower()}
    shown = subprocess.run(
        [sys.executable, "-c", "from common.kernels import cpu, spikes; print(cpu.LIBRARY, spikes.LIBRARY)"],
        cwd=wheel, env=environment, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert [Path(path).name.partition(".")[0] for path in shown] == [f"_neurons_{level}", f"_spikes_{level}"]
    assert all(Path(path).is_relative_to(wheel) for path in shown)
    modules = [f"tests/common/kernels/test_{name}.py" for name in ("cpu", "spike_conv", "input_gradient")]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *modules],
        cwd=wheel, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    assert "skipped" not in result.stdout
