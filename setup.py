"""Builds the optional C++ neurons; everything else about the package is in pyproject.toml."""

from setuptools import Extension, setup

FLAGS = ["-std=c++20", "-O3", "-march=native", "-fopenmp", "-g0", "-Wno-maybe-uninitialized"]
EXACT = ["-ffp-contract=off"]  # no fused multiply-add: it would change spikes

setup(
    ext_modules=[
        Extension(
            "common.kernels._neurons",
            sources=["common/kernels/cpp/neurons.cpp"],
            depends=["common/kernels/cpp/neuron.h", "common/kernels/cpp/vectors.h"],
            language="c++",
            extra_compile_args=FLAGS + EXACT,
            extra_link_args=["-fopenmp"],
            optional=True,  # without a compiler the install succeeds and the PyTorch reference runs
        )
    ]
)
