import json

import pytest
import timm
import torch

from common.errors import UserError
from common.events import compiled
from common.kernels import cpu
from tools import doctor


@pytest.fixture
def no_extension(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "LIBRARY", tmp_path / "absent.so")


@pytest.fixture
def no_slow_code(monkeypatch):
    """An installation with both extensions, whatever this one has."""
    monkeypatch.setattr(doctor, "neurons", lambda device_type: {"float32": "cpu"})
    monkeypatch.setattr(doctor, "events", lambda: {"readers and frames": "compiled"})


def test_report_names_versions_and_backends(capsys):
    doctor.main(["--quick"])
    printed = capsys.readouterr().out
    assert timm.__version__ in printed
    assert "neurons on CPU tensors" in printed


def test_json_has_the_backend_of_every_dtype(capsys):
    doctor.main(["--json", "--quick"])
    neurons = json.loads(capsys.readouterr().out)["neurons on CPU tensors"]
    assert {"float32", "bfloat16", "float16", "float64"} <= neurons.keys()


def test_without_the_extension_it_says_what_runs_and_what_to_do(no_extension, capsys):
    with pytest.raises(SystemExit) as exit:
        doctor.main(["--quick"])
    assert exit.value.code == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert "CPU without its kernels, slow" in line
    assert "install g++ and run `pip install -e .` again" in line
    assert doctor.examine(quick=True)["neurons on CPU tensors"]["float32"] == "torch"


def test_without_the_events_extension_it_says_what_reads_recordings_and_why(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "LIBRARY", tmp_path / "absent.so")
    report = doctor.examine(quick=True)["events"]
    assert report["readers and frames"] == "NumPy"
    assert "install g++ and run `pip install -e .` again" in report["not compiled"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_why_cuda_tensors_run_the_reference():
    report = doctor.examine(quick=True)["neurons on CUDA tensors"]
    assert report["float32"] == "torch"
    assert report["not cuda"]


def test_a_backend_that_cannot_serve_is_reported_with_the_reason(monkeypatch):
    monkeypatch.setenv("SNN_BACKEND", "cpu")
    assert doctor.examine(quick=True)["neurons on CUDA tensors"]["float32"].startswith(
        "none: neuron backend 'cpu' cannot serve"
    )


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("SNN_BACKEND", "abacus")
    with pytest.raises(UserError, match="unknown neuron backend 'abacus'"):
        doctor.main(["--quick"])


@pytest.mark.slow
def test_a_whole_installation_has_no_problems(no_slow_code):
    assert doctor.examine(quick=False)["problems"] == {}


def test_an_old_and_a_missing_package_are_problems_with_a_remedy(monkeypatch, no_slow_code):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["torch>=99", "no-such-package>=1"])
    problems = doctor.examine(quick=True)["problems"]
    assert "TOO OLD: torch>=99 is needed, run `pip install" in problems["versions, torch"]
    assert "MISSING: no-such-package>=1 is needed" in problems["versions, no-such-package"]


def test_a_launcher_that_fails_is_a_problem_with_its_cause(monkeypatch, no_slow_code):
    monkeypatch.setattr(doctor, "HELLO", "raise OSError('no network')")
    assert "OSError: no network" in doctor.examine(quick=False)["problems"]["launcher, two processes"]


def test_data_sets_and_weights_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "data" / "HARDVS" / "action_001").mkdir(parents=True)
    (tmp_path / "spiking-papers").mkdir()
    (tmp_path / "spiking-papers" / "some_weights.safetensors").touch()
    report = doctor.examine(quick=True)
    assert report["data sets"]["hardvs"] == "something in data/HARDVS"
    assert report["data sets"]["dvs128"] == "not in data/DVS128Gesture"
    assert list(report["weights"].values()) == ["some_weights"]
