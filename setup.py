"""Finds the packages and builds the optional C++ extensions; all else about the distribution is in pyproject.toml."""

import platform
import sys
from pathlib import Path

from setuptools import Extension, find_namespace_packages, setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from common.compiled import LEVELS, source_hash  # noqa: E402  (a build has no path to the package yet)


def made_from(folder: str) -> list[tuple[str, str]]:
    """The macro that tells an extension what it was compiled from."""
    return [("SOURCE_HASH", f'"{source_hash(ROOT / folder)}"')]


FLAGS = ["-std=c++20", "-O3", "-g0", "-Wno-maybe-uninitialized"]
EXACT = ["-ffp-contract=off"]  # no fused multiply-add: it would change spikes
ON_THIS_MACHINE = any(word in sys.argv for word in ("editable_wheel", "develop", "--inplace"))
"""Whether what is built stays here; a wheel may be carried to another processor."""
if ON_THIS_MACHINE or platform.machine() not in ("x86_64", "AMD64"):
    PROCESSORS = {"": ["-march=native"] * ON_THIS_MACHINE}
else:
    PROCESSORS = {f"_{level}": [f"-march=x86-64-{level}"] for level in LEVELS}


def kernels(name: str, source: str, headers: tuple[str, ...], flags: list[str]) -> list[Extension]:
    """An extension of `common.kernels`, once for each kind of processor; without a compiler PyTorch does its work."""
    folder = "common/kernels/cpp"
    return [
        Extension(
            f"common.kernels.{name}{level}",
            sources=[f"{folder}/{source}"],
            depends=[f"{folder}/{header}" for header in headers],
            define_macros=made_from(folder),
            language="c++",
            extra_compile_args=[*FLAGS, "-fopenmp", *flags, *processor],
            extra_link_args=["-fopenmp"],
            optional=True,
        )
        for level, processor in PROCESSORS.items()
    ]


rooms = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"}

setup(
    packages=find_namespace_packages(str(ROOT), include=[f"{room}*" for room in sorted(rooms)]),
    ext_modules=[
        *kernels("_neurons", "neurons.cpp", ("neuron.h", "vectors.h"), EXACT),
        *kernels("_spikes", "spikes.cpp", ("spikes.h", "spike_forward.h", "spike_gradient.h", "winograd.h"), []),
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
