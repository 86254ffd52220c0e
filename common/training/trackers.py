"""Services that show runs side by side, for `--tracker`; the logs and TensorBoard are written without them too."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from common.errors import UserError

PROJECT = "spiking-papers"

Log = Callable[[Mapping[str, float]], None]
"""Takes a row of the history."""


def open_tracker(name: str, folder: Path, settings: Mapping[str, object]) -> tuple[Log, Callable[[], None]]:
    """What logs a row to the service called `name`, and what ends that; a resumed run of `folder` goes on there.

    Raises:
        UserError: its package is not installed, or it refuses.
    """
    try:
        return TRACKERS[name](folder, settings)
    except ImportError as error:
        raise UserError(f"--tracker {name}: {error}; run `pip install {name}`") from error
    except UserError:
        raise
    except Exception as error:  # of a foreign service
        raise UserError(f"--tracker {name}: {error}; log in as it documents, or leave --tracker out") from error


def _wandb(folder: Path, settings: Mapping[str, object]) -> tuple[Log, Callable[[], None]]:
    import wandb

    name = f"{folder.resolve().parent.name}/{folder.name}"
    run = wandb.init(project=PROJECT, name=name, id=_key(folder), resume="allow", dir=folder, config=dict(settings))
    return lambda row: run.log(dict(row), step=int(row["epoch"])), run.finish


def _mlflow(folder: Path, settings: Mapping[str, object]) -> tuple[Log, Callable[[], None]]:
    import mlflow

    mlflow.set_experiment(PROJECT)
    key = _key(folder)
    known = mlflow.search_runs(experiment_names=[PROJECT], filter_string=f"tags.folder = '{key}'", output_format="list")
    if known:
        mlflow.start_run(run_id=known[0].info.run_id)
    else:
        mlflow.start_run(run_name=folder.name, tags={"folder": key})
        mlflow.log_params({name: str(value)[:500] for name, value in settings.items()})
    return lambda row: _log_metrics(mlflow, row), mlflow.end_run


def _log_metrics(mlflow: ModuleType, row: Mapping[str, float]) -> None:
    mlflow.log_metrics({name: float(value) for name, value in row.items()}, step=int(row["epoch"]))


def _key(folder: Path) -> str:
    """The same word for the same folder."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


TRACKERS = {"wandb": _wandb, "mlflow": _mlflow}
