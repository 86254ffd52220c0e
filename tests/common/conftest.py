"""A tiny data set of each kind, written and converted once."""

from pathlib import Path

import pytest

from common.conversion.prepare import prepare
from common.datasets.card import cards

NAMES = ("dvs128", "cifar10dvs", "ncaltech101")
LOADERS = {name: cards()[name].loader for name in NAMES}
T = 3


@pytest.fixture(scope="session")
def sources(tmp_path_factory) -> dict[str, Path]:
    """{name: folder of published archives}, 2 classes of 10 recordings each."""
    folder = tmp_path_factory.mktemp("sources")
    return {name: cards()[name].write_tiny(folder / name, classes=2, per_class=10) for name in NAMES}


@pytest.fixture(scope="session")
def roots(sources, tmp_path_factory) -> dict[str, Path]:
    """{name: converted data set}; tests only read it."""
    folder = tmp_path_factory.mktemp("roots")
    return {name: prepare(LOADERS[name], sources[name], folder / name, T, workers=1).root for name in NAMES}


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """{relative path: (size, time of last change)} of all files below `folder`."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
