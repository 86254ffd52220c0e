"""A tracker gets the settings and every epoch of a run, and a resumed run goes on in it."""

import sys
from types import SimpleNamespace

import pytest

from common.errors import UserError
from common.training import Process
from common.training.record import Recorder
from common.training.trackers import TRACKERS, open_tracker

ROW = {"epoch": 3, "train_loss": 0.5, "test_acc1": 90.0}


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in that remembers what it is told."""
    told = []
    run = SimpleNamespace(log=lambda row, step: told.append((step, row)), finish=lambda: told.append("end"))
    fake = SimpleNamespace(told=told, init=lambda **settings: told.append(settings) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_wandb_gets_settings_rows_and_the_end(wandb, tmp_path):
    log, end = open_tracker("wandb", tmp_path / "run", {"lr": 0.1})
    log(ROW), end()
    first, *rest = wandb.told
    assert (first["config"], first["resume"], first["dir"]) == ({"lr": 0.1}, "allow", tmp_path / "run")
    assert rest == [(3, ROW), "end"]


def test_a_folder_has_one_run(wandb, tmp_path):
    for name in ("one", "one", "other"):
        open_tracker("wandb", tmp_path / name, {})
    first, again, other = (settings["id"] for settings in wandb.told)
    assert first == again != other


def test_mlflow_finds_the_run_of_a_folder_again(monkeypatch, tmp_path):
    runs, told = [], []

    def start_run(run_id=None, run_name=None, tags=None):
        if run_id is None:
            runs.append(SimpleNamespace(info=SimpleNamespace(run_id=f"run {len(runs)}"), tags=tags))
        told.append(run_id or runs[-1].info.run_id)

    def search_runs(experiment_names, filter_string, output_format):
        return [run for run in runs if filter_string == f"tags.folder = '{run.tags['folder']}'"]

    fake = SimpleNamespace(
        set_experiment=lambda name: None, start_run=start_run, search_runs=search_runs, end_run=lambda: None,
        log_params=told.append, log_metrics=lambda row, step: told.append((step, row)),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    for _ in range(2):
        log, _ = open_tracker("mlflow", tmp_path, {"lr": 0.1})
        log(ROW)
    metrics = (3, {name: float(value) for name, value in ROW.items()})
    assert told == ["run 0", {"lr": "0.1"}, metrics, "run 0", metrics]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, tmp_path, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"run `pip install {name}`"):
        open_tracker(name, tmp_path, {})


def test_a_service_that_refuses_is_one_line(monkeypatch, tmp_path):
    def refuse(**settings):
        raise RuntimeError("api_key not configured")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    with pytest.raises(UserError, match="--tracker wandb: api_key not configured; log in"):
        open_tracker("wandb", tmp_path, {})


def test_a_run_goes_on_when_the_service_fails(wandb, tmp_path, capsys):
    import torch

    process = Process(0, 1, 0, torch.device("cpu"))
    with Recorder(tmp_path, tmp_path / "board", process, 3, 5, "acc1", "wandb", {"lr": 1}) as recorder:
        recorder.log = lambda row: 1 / 0
        recorder.write([ROW])
    assert "warning: wandb was not told of epoch 3: division by zero" in capsys.readouterr().err
    assert (tmp_path / "log.csv").exists() and wandb.told[-1] == "end"
