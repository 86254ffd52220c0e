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


def test_report_names_versions_and_backends(capsys):
    doctor.main([])
    printed = capsys.readouterr().out
    assert timm.__version__ in printed
    assert "neurons on CPU tensors" in printed


def test_json_has_the_backend_of_every_dtype(capsys):
    doctor.main(["--json"])
    neurons = json.loads(capsys.readouterr().out)["neurons on CPU tensors"]
    assert {"float32", "bfloat16", "float16", "float64"} <= neurons.keys()


def test_without_the_extension_it_says_what_runs_and_what_to_do(no_extension, capsys):
    doctor.main([])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "C++ extension" in line]
    assert "install g++ and run `pip install -e .` again" in line
    assert doctor.examine()["neurons on CPU tensors"]["float32"] == "torch"


def test_without_the_events_extension_it_says_what_reads_recordings_and_why(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "LIBRARY", tmp_path / "absent.so")
    report = doctor.examine()["events"]
    assert report["readers and frames"] == "NumPy"
    assert "install g++ and run `pip install -e .` again" in report["not compiled"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_why_cuda_tensors_run_the_reference():
    report = doctor.examine()["neurons on CUDA tensors"]
    assert report["float32"] == "torch"
    assert report["not cuda"]


def test_a_backend_that_cannot_serve_is_reported_with_the_reason(monkeypatch):
    monkeypatch.setenv("SNN_BACKEND", "cpu")
    assert doctor.examine()["neurons on CUDA tensors"]["float32"].startswith("none: neuron backend 'cpu' cannot serve")


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("SNN_BACKEND", "abacus")
    with pytest.raises(UserError, match="unknown neuron backend 'abacus'"):
        doctor.main([])
