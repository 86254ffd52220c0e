"""Finds the packages and builds the optional C++ extensions; all else about the distribution is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import Extension, find_namespace_packages, setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from common.compiled import source_hash  # noqa: E402  (a build has no path to the package yet)


def made_from(folder: str) -> list[tuple[str, str]]:
    """The macro that tells an extension what it was compiled from."""
    return [("SOURCE_HASH", f'"{source_hash(ROOT / folder)}"')]


FLAGS = ["-std=c++20", "-O3", "-march=native", "-fopenmp", "-g0", "-Wno-maybe-uninitialized"]
EXACT = ["-ffp-contract=off"]  # no fused multiply-add: it would change spikes

rooms = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"}

setup(
    packages=find_namespace_packages(str(ROOT), include=[f"{room}*" for room in sorted(rooms)]),
    ext_modules=[
        Extension(
            "common.kernels._neurons",
            sources=["common/kernels/cpp/neurons.cpp"],
            depends=["common/kernels/cpp/neuron.h", "common/kernels/cpp/vectors.h"],
            define_macros=made_from("common/kernels/cpp"),
            language="c++",
            extra_compile_args=FLAGS + EXACT,
            extra_link_args=["-fopenmp"],
            optional=True,  # without a compiler the install succeeds and the PyTorch reference runs
        ),
        Extension(
            "common.kernels._spikes",
            sources=["common/kernels/cpp/spikes.cpp"],
            depends=[f"common/kernels/cpp/{name}.h" for name in ("spikes", "spike_forward", "spike_gradient")],
            define_macros=made_from("common/kernels/cpp"),
            language="c++",
            extra_compile_args=FLAGS,
            extra_link_args=["-fopenmp"],
            optional=True,  # without a compiler convolutions are dense
        ),
        Extension(
            "common.events._events",
            sources=["common/events/cpp/events.cpp"],
            define_macros=made_from("common/events/cpp"),
            language="c++",
            extra_compile_args=["-std=c++20", "-O3", "-g0"],
            optional=True,  # without a compiler the install succeeds and NumPy reads and counts
        ),
    ],
)
