"""The flags that change how a run uses its machines, and not what it computes."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from common.errors import UserError
from common.training import Scale, load_checkpoint
from tests.common.training import toy
from tests.common.training.runs import start_pair
from tests.common.training.test_loop import tiny_fit, train


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--amp-dtype", "bf16"], "--amp-dtype bf16: this run has no mixed precision; add --amp"),
        (["--static-graph", "--accumulate", 2], "--static-graph needs gradients of all processes"),
        (["--async-checkpoints"], "--async-checkpoints is for those within an epoch: add --checkpoint-every 2 or more"),
        (["--async-checkpoints", "--checkpoint-every", 5, "--accumulate", 3], "add --checkpoint-every 6 or more"),
        (["--grad-checkpointing"], "--grad-checkpointing: Toy cannot compute blocks again"),
    ],
)
def test_a_flag_that_means_nothing_is_refused(tmp_path, words, problem):
    with pytest.raises(UserError, match=problem):
        train(tmp_path, *words)


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_the_numbers_of_mixed_precision_can_be_chosen(tmp_path, name, dtype):
    kinds, data = set(), TensorDataset(torch.randn(8, 3), torch.arange(8) % 2)

    def loss_fn(output, target):
        kinds.add(output.dtype)
        return nn.functional.cross_entropy(output.float(), target)

    tiny_fit(tmp_path, data=data, model=nn.Linear(3, 2), amp=True, loss_fn=loss_fn, scale=Scale(amp_dtype=name))
    assert kinds == {dtype}
    assert bool(load_checkpoint(tmp_path / "checkpoint.pt")["scaler"]) == (name == "fp16")


def test_convolutions_can_work_in_nhwc(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    data = TensorDataset(torch.randn(8, 3, 4, 4), torch.arange(8) % 2)
    tiny_fit(tmp_path, data=data, model=model, scale=Scale(channels_last=True))
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)


def losses(folder):
    return [json.loads(line)["train_loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_compiled_training_follows_the_same_curve_and_saves_plain_names(tmp_path):
    for name, words in (("plain", []), ("compiled", ["--compile"])):
        train(tmp_path / name, *words)
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-9)
    assert set(load_checkpoint(tmp_path / "compiled" / "checkpoint.pt")["model"]) == set(toy.Toy(0.0).state_dict())


@pytest.mark.slow
def test_two_processes_follow_the_same_curve_compiled_and_with_a_static_graph(tmp_path):
    ways = {"plain": [], "compiled": ["--compile"], "static": ["--static-graph"]}
    start_pair(*(["--output-dir", tmp_path / name, *words] for name, words in ways.items()))
    for name in ways:
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "plain"), rel=1e-9)
