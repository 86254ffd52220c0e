import csv
import json

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.training import Process
from common.training.record import Recorder, summary

ROWS = [
    {"epoch": 1, "train_loss": 2.0, "test_acc1": 40.0},
    {"epoch": 2, "train_loss": 1.0, "test_acc1": 30.0},
]


def record(folder, rank=0, select="acc1"):
    with Recorder(
        folder, folder / "tensorboard", Process(rank, 2, rank, torch.device("cpu")), 1, 2, select
    ) as recorder:
        for done in (1, 2):
            recorder.write(ROWS[:done])


def test_the_csv_log_has_a_row_per_epoch(tmp_path):
    record(tmp_path)
    with (tmp_path / "log.csv").open() as stream:
        assert [float(row["train_loss"]) for row in csv.DictReader(stream)] == [2.0, 1.0]


def test_the_json_log_has_a_line_per_epoch(tmp_path):
    record(tmp_path)
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == ROWS


def test_tensorboard_has_a_point_per_epoch(tmp_path):
    record(tmp_path)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(point.step, point.value) for point in board.Scalars("train_loss")] == [(1, 2.0), (2, 1.0)]


def test_the_printed_line_names_the_best_and_how_it_was_selected(tmp_path):
    assert summary(ROWS, 2, "acc1") == (
        "epoch 2/2 | train_loss 1 | test_acc1 30 | best acc1 40 in epoch 1, selected on the test set"
    )


def test_other_processes_write_nothing(tmp_path):
    record(tmp_path, rank=1)
    assert not list(tmp_path.iterdir())
