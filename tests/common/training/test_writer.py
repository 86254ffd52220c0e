"""Checkpoints that are written while training goes on."""

import threading
import time

import pytest
import torch
from torch import nn

from common.errors import OutputError, UserError
from common.training import Scale, checkpoint, load_checkpoint, state
from tests.common.training.test_loop import tiny_fit


def beside(folder, write, **options):
    """Two epochs of two batches, whose checkpoints are written by `write`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "save_checkpoint", write)
        return tiny_fit(folder, checkpoint_every=2, scale=Scale(async_checkpoints=True), **options)


def test_a_checkpoint_is_written_beside_the_next_batch_and_holds_the_state_of_its_own(tmp_path):
    model, weights, went_on, found = nn.Linear(3, 2, dtype=torch.float64), [], threading.Event(), []

    def follow(inputs, labels, epoch):
        weights.append(model.weight.tolist())
        return inputs, labels

    def went_on_after(index, loss):
        if index % 2 == 0:  # the second batch of an epoch, whose first one is in the checkpoint
            went_on.set()

    def write(path, content, metadata):
        if content["step"]:
            assert went_on.wait(20)
            went_on.clear()
            found.append((content["model"]["weight"].tolist(), content["epoch"], content["step"]))
        checkpoint.save_checkpoint(path, content, metadata)

    beside(tmp_path, write, model=model, transform_batch=follow, on_step=went_on_after)
    assert found == [(weights[1], 0, 1), (weights[3], 1, 1)]


def test_a_checkpoint_that_cannot_be_written_beside_training_ends_it(tmp_path):
    def write(path, content, metadata):
        if content["step"]:
            raise OutputError(f"cannot write {path}: no space")

    with pytest.raises(OutputError, match=r"checkpoint\.pt: no space"):
        beside(tmp_path, write)


def test_a_run_that_fails_leaves_no_write_unfinished(tmp_path):
    fails = threading.Event()

    def spoil(index, loss):
        if index == 2:
            fails.set()
            raise UserError("spoiled")

    def write(path, content, metadata):
        assert fails.wait(20)
        time.sleep(0.3)
        checkpoint.save_checkpoint(path, content, metadata)

    with pytest.raises(UserError, match="spoiled"):
        beside(tmp_path, write, on_step=spoil)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 1
