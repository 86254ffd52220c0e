"""An extension is used only if it was compiled from the sources that lie beside it."""

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


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a compiler")
def test_a_wheel_has_kernels_for_every_kind_of_processor(tmp_path):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pip", "wheel", str(root), "--no-deps", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name.partition(".")[0] for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")}
    kernels = {f"common/kernels/{name}_{level}" for name in ("_neurons", "_spikes") for level in LEVELS}
    assert names == kernels | {"common/events/_events"}
