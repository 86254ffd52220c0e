"""How often the host waits for the device, and what it learns then."""

from pathlib import Path

import pytest
import torch
from torch import nn

from common.errors import UserError
from common.training import average_of, mean_over_time, watch
from common.training.launch import Process
from common.training.state import TrainingState
from common.training.step import Recipe, train_on
from common.training.watch import Watch
from tests.common.training import toy
from tests.common.training.runs import outcome


def train(folder, *arguments):
    return toy.main(["--output-dir", str(folder), *map(str, arguments)])


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_no_step_waits_for_the_device(optimizer):
    """On the device "meta" nothing is computed: whoever wants to see a number there fails."""
    process = Process(0, 1, 0, torch.device("cpu"))  # whose autocast there is
    model = toy.Toy(0.5).to("meta")
    average = average_of(model, 0.9)
    average.n_averaged = torch.ones((), dtype=torch.int64, device="cpu")
    schedule = torch.optim.lr_scheduler.ExponentialLR
    optimizer = optimizer(model.parameters(), lr=0.1)
    state = TrainingState(model, optimizer, torch.amp.GradScaler(enabled=False), schedule(optimizer, 0.9), average)
    recipe = Recipe(
        lambda output, target: nn.functional.cross_entropy(output.mean(0), target),
        schedule="step",
        clip_grad=1.0,
        accumulate=2,
        reduce_output=mean_over_time,
        top5=True,
    )
    seen = Watch(100, recipe, process, Path(), [])
    batch = torch.empty(4, toy.FEATURES, dtype=torch.float64, device="meta"), torch.empty(4, dtype=int, device="meta")
    for _ in range(4):
        seen.note(train_on(model, state, recipe, batch, 4, process), batch)
    assert [row.shape for row, _ in seen.seen] == [(3,)] * 4
    with pytest.raises(RuntimeError, match="meta"):
        seen.look(state, 4, None)


def test_losses_are_looked_at_every_few_batches_and_before_a_checkpoint(tmp_path, monkeypatch):
    steps, look = [], Watch.look
    monkeypatch.setattr(Watch, "look", lambda self, state, *rest: (steps.append(state.step), look(self, state, *rest)))
    train(tmp_path, "--epochs", 1, "--log-every", 4, "--checkpoint-every", 7)
    assert steps == [4, 7, 8, 10]


def test_looking_less_often_changes_nothing(tmp_path):
    train(tmp_path / "often", "--random", "--accumulate", 3, "--ema")
    with pytest.raises(SystemExit):
        train(tmp_path / "rarely", "--random", "--accumulate", 3, "--ema", "--log-every", 4, "--stop-at", 13)
    train(tmp_path / "rarely", "--random", "--accumulate", 3, "--ema", "--log-every", 4, "--resume")
    assert outcome(tmp_path / "rarely") == outcome(tmp_path / "often")


def test_a_loss_that_is_not_finite_is_named_even_if_it_is_seen_later(tmp_path):
    with pytest.raises(UserError, match=r"not finite in epoch 2, batch 2; .* every 4 batches.* --resume --log-every 1"):
        train(tmp_path, "--log-every", 4, "--nan-at", 12)
    assert not (tmp_path / "nonfinite_batch.pt").exists()
    with pytest.raises(UserError, match=r"not finite in epoch 2, batch 2; that batch is saved"):
        train(tmp_path, "--log-every", 1, "--nan-at", 2, "--resume")
    assert (tmp_path / "nonfinite_batch.pt").exists()


def test_an_epoch_says_how_fast_it_was_and_how_long_it_waited_for_data(tmp_path, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(watch.time, "monotonic", lambda: next(clock))
    progress = Watch(1, Recipe(None), Process(0, 2, 0, torch.device("cpu")), tmp_path, [])
    progress.start()
    for _ in progress.waiting(range(3)):  # the clock goes on by 1 at each look, of which there are 2 per batch
        progress.samples += 5
    assert progress.waited == 4
    assert progress.speed() == {"samples_per_second": 15 / 9, "data_wait": 4 / 9}


def test_the_log_has_the_speed_of_each_epoch(tmp_path):
    row = train(tmp_path, "--epochs", 1)[0]
    assert row["samples_per_second"] > 0 and 0 <= row["data_wait"] <= 1
