"""An extension is used only if it was compiled from the sources that lie beside it."""

import shutil

import pytest

from common.compiled import load_extension, source_hash
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
