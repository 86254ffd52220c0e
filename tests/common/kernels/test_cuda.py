"""The CUDA neurons are compiled for two architectures and emulated on the CPU; no GPU is needed, and none runs them.

The emulation executes threads one after another, so it can see wrong numbers but neither races nor misaligned access.
"""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.kernels import LIFParameters, cuda, integer_if, multi_step_lif, use
from common.kernels.encoding import encode_integer, encode_lif
from common.kernels.layout import blocks
from tests.common.kernels.variants import INTEGERS, ROUNDING, SURROGATES, current, forward_backward, lif_variants

HERE = Path(__file__).parent
STEPS = 5  # what cuda_launch.cpp instantiates
STORAGES = list(cuda.STORAGE)


def instances() -> list[str]:
    """Every forward and every backward code in float32; loads and stores of the other types once."""
    lif, integer = [(code % 3, code) for code in range(16)], [(6, 16), (7, 17)]
    return [
        *(cuda.expression("neuron_forward", torch.float32, (code,), 4, 4) for code in range(8)),
        *(cuda.expression("neuron_backward", torch.float32, codes, 4, 4) for codes in lif + integer),
        *(cuda.expression("neuron_forward", dtype, (0,), 4, vector) for dtype in STORAGES for vector in (1, 8)),
        *(cuda.expression("neuron_backward", dtype, (0, 0), 16, 1) for dtype in STORAGES),
    ]


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_kernels_compile(architecture):
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="no cuda-bindings: torch for CUDA brings them")
    _, program = nvrtc.nvrtcCreateProgram(cuda.SOURCE.read_bytes(), b"neurons.cu", 0, [], [])
    for name in instances():
        nvrtc.nvrtcAddNameExpression(program, name.encode())
    options = [option.encode() for option in (*cuda.OPTIONS, f"-arch={architecture}")]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    log = bytes(nvrtc.nvrtcGetProgramLogSize(program)[1])
    nvrtc.nvrtcGetProgramLog(program, log)
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    assert nvrtc.nvrtcGetCUBINSize(program)[1] > 0


class Launch(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "grad", "out")),
        *((name, ctypes.c_longlong) for name in ("outer", "inner")),
        ("constants", ctypes.c_void_p),
        *((name, ctypes.c_uint) for name in ("blocks", "threads")),
    )


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed; it compiles the CUDA kernels for the CPU")
    library = tmp_path_factory.mktemp("emulator") / "emulator.so"
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-w", "-shared", "-fPIC"]
    folders = [f"-I{folder}" for folder in (cuda.SOURCE.parent, cuda.FOLDER / "cpp")]
    subprocess.run([compiler, *flags, *folders, HERE / "cuda_launch.cpp", "-o", library], check=True)
    return ctypes.CDLL(str(library))


def emulate(emulator, tensors, codes, constants, time_dim):
    """Launch one kernel as `cuda._launch` does; `tensors` are x, the gradient (if backward) and the output."""
    x, *gradient, out = tensors
    outer, steps, inner = blocks(x, time_dim)
    assert steps == STEPS
    vector = cuda.columns_per_thread(tensors, steps, inner)
    values = cuda.in_single_precision(constants)
    grad = gradient[0].data_ptr() if gradient else None
    grid = -(-outer * inner // (vector * 32))
    launch = Launch(x.data_ptr(), grad, out.data_ptr(), outer, inner, values.ctypes.data, grid, 32)
    emulator.launch(ctypes.byref(launch), STORAGES.index(x.dtype), vector, codes[0], (*codes, -1)[1])


def assert_emulated_equal(emulator, operation, encoded, x, parameters, time_dim):
    *codes, constants = encoded
    with use("torch"):
        expected, expected_gradient = forward_backward(operation, x, parameters, time_dim)
    output, gradient = torch.empty_like(x), torch.empty_like(x)
    emulate(emulator, (x, output), codes[:1], constants, time_dim)
    emulate(emulator, (x, current(x.shape, x.dtype, seed=1), gradient), codes, constants, time_dim)
    assert torch.equal(output, expected), parameters
    torch.testing.assert_close(gradient, expected_gradient, **ROUNDING[x.dtype], msg=lambda m: f"{parameters}: {m}")


@pytest.mark.parametrize("dtype", STORAGES, ids=str)
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: type(s).__name__)
def test_emulated_lif_equals_the_reference(emulator, surrogate, dtype):
    x = current((STEPS, 3, 24), dtype)
    for parameters in lif_variants(surrogate):
        assert_emulated_equal(emulator, multi_step_lif, encode_lif(parameters), x, parameters, 0)


@pytest.mark.parametrize("dtype", STORAGES, ids=str)
@pytest.mark.parametrize("parameters", INTEGERS, ids=str)
def test_emulated_integer_neuron_equals_the_reference(emulator, parameters, dtype):
    x = current((STEPS, 3, 24), dtype)
    assert_emulated_equal(emulator, integer_if, encode_integer(parameters), x, parameters, 0)


POSITIONS = [((STEPS, 7, 11), 0), ((3, STEPS, 40), 1), ((3, STEPS, 9), 1), ((2, 3, STEPS), 2)]


@pytest.mark.parametrize("shape, time_dim", POSITIONS)
def test_emulated_kernels_serve_every_position_of_time(emulator, shape, time_dim):
    parameters = LIFParameters(tau=1.5, detach_reset=False)
    encoded = encode_lif(parameters)
    assert_emulated_equal(emulator, multi_step_lif, encoded, current(shape), parameters, time_dim)


def test_cupy_without_a_device_is_refused_with_its_reason(monkeypatch):
    class Runtime:
        @staticmethod
        def getDeviceCount():
            raise RuntimeError("driver version is insufficient")

    fake = type(sys)("cupy")
    fake.cuda = type("cuda", (), {"runtime": Runtime})
    monkeypatch.setitem(sys.modules, "cupy", fake)
    assert "driver version is insufficient" in cuda.missing.__wrapped__()


def test_absent_cupy_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install" in cuda.missing.__wrapped__()
