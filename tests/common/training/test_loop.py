import csv
import math
import random
import signal

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from common.errors import UserError
from common.training import (
    Scale,
    average_of,
    evaluate_classification,
    fit,
    load_checkpoint,
    load_weights,
    make_loader,
    start,
)
from common.training.state import TrainingState
from tests.common.training import toy
from tests.common.training.runs import TOY, outcome
from tests.programs import run_program

PROCESS = start("cpu")


def train(folder, *arguments):
    return toy.main(["--output-dir", str(folder), *map(str, arguments)])


def tiny_fit(folder, *, data=None, batch_size=4, rate=0.1, **options):
    """Two epochs of a linear classifier on eight points; returns the model and the history."""
    torch.manual_seed(0)
    data = data or TensorDataset(torch.randn(8, 3, dtype=torch.float64), torch.arange(8) % 2)
    model = options.pop("model", None) or nn.Linear(3, 2, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    if make_scheduler := options.pop("make_scheduler", None):
        options["scheduler"] = make_scheduler(optimizer)
    loader = make_loader(data, batch_size, train=True, process=PROCESS)
    defaults = {
        "loss_fn": nn.functional.cross_entropy,
        "epochs": 2,
        "evaluate": lambda net: {"acc1": 50.0},
        "process": PROCESS,
        "output_dir": folder,
    }
    return model, fit(model, loader, optimizer=optimizer, **(defaults | options))


def tenfold_less(optimizer):
    """A schedule that divides the rate by ten whenever it is stepped."""
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)


@pytest.mark.parametrize(
    "switches",
    [[], ["--random"], ["--random", "--workers", 2], ["--random", "--ema"], ["--accumulate", 3]],
    ids=["plain", "random", "random with workers", "average", "accumulated"],
)
def test_a_run_stopped_within_an_epoch_resumes_exactly(tmp_path, switches):
    train(tmp_path / "whole", *switches)
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path / "parts", *switches, "--stop-at", 14)
    train(tmp_path / "parts", *switches, "--resume")
    assert stopped.value.code == 143
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_a_run_stopped_at_the_last_batch_of_an_epoch_resumes_exactly(tmp_path):
    train(tmp_path / "whole", "--random")
    with pytest.raises(SystemExit):
        train(tmp_path / "parts", "--random", "--stop-at", 10)
    train(tmp_path / "parts", "--random", "--resume")
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    "switches",
    [["--random"], ["--accumulate", 3], ["--random", "--async-checkpoints"]],
    ids=["random", "accumulated", "asynchronous"],
)
def test_runs_killed_again_and_again_lose_no_more_than_since_the_last_checkpoint(tmp_path, switches):
    switches = [*switches, "--checkpoint-every", 3]
    train(tmp_path / "whole", *switches)
    switches = ["--output-dir", tmp_path / "parts", *switches]
    reached = 0
    for batch in (5, 9, 8):
        assert run_program(TOY, *switches, "--kill-at", batch).returncode == -signal.SIGKILL
        content = load_checkpoint(tmp_path / "parts" / "checkpoint.pt")
        done = content["epoch"] * 10 + content["step"]
        assert reached + batch - 1 - done <= 3
        reached = done
        switches = [*switches, "--resume"] if "--resume" not in switches else switches
    assert run_program(TOY, *switches).returncode == 0
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_a_signal_asks_for_a_checkpoint_and_the_run_goes_on(tmp_path, monkeypatch):
    saved = []
    save = TrainingState.save
    monkeypatch.setattr(
        TrainingState, "save", lambda self, *rest: (saved.append((self.epoch, self.step)), save(self, *rest))
    )
    train(tmp_path, "--epochs", 2, "--ask-at", 13)
    assert saved == [(1, 0), (1, 3), (2, 0)]


def test_a_stop_waits_for_the_end_of_an_accumulated_step(tmp_path):
    with pytest.raises(SystemExit):
        train(tmp_path, "--accumulate", 3, "--stop-at", 4)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 6


def test_a_finished_run_can_be_resumed_without_training(tmp_path):
    history = train(tmp_path)
    assert train(tmp_path, "--resume") == history


def test_signals_mean_what_they_did_when_training_is_over(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    train(tmp_path, "--epochs", 1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_seed_decides_the_run(tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(tmp_path / folder, "--random", "--seed", seed)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b") != outcome(tmp_path / "c")


def test_training_lowers_the_loss(tmp_path):
    history = train(tmp_path, "--epochs", 8)
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_a_resumed_run_repeats_no_row_of_the_log(tmp_path):
    train(tmp_path)
    with pytest.raises(SystemExit):
        train(tmp_path, "--stop-at", 25)
    train(tmp_path, "--resume")
    with (tmp_path / "log.csv").open() as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2", "3"]


def test_a_checkpoint_of_another_batch_size_is_refused(tmp_path):
    train(tmp_path, "-b", 4)
    with pytest.raises(UserError, match="batches_per_epoch is 10 there, 5 here"):
        train(tmp_path, "-b", 8, "--resume")


def test_the_line_of_an_epoch_says_that_the_best_is_selected_on_the_test_set(tmp_path, capsys):
    train(tmp_path, "--epochs", 1)
    assert "selected on the test set" in capsys.readouterr().out


def test_best_weights_are_those_of_the_first_epoch_with_the_highest_accuracy(tmp_path):
    scores, weights = iter([10.0, 30.0, 30.0, 20.0]), []

    def evaluate(model):
        weights.append(model.weight.tolist())
        return {"acc1": next(scores)}

    tiny_fit(tmp_path, epochs=4, evaluate=evaluate)
    assert torch.load(tmp_path / "best.pt", weights_only=True)["weight"].tolist() == weights[1]


def test_best_weights_load_back(tmp_path):
    model, _ = tiny_fit(tmp_path, epochs=1)
    fresh = nn.Linear(3, 2, dtype=torch.float64)
    load_weights(fresh, tmp_path / "best.pt")
    assert fresh.weight.equal(model.weight)


def test_the_average_can_decide_and_be_the_best_weights(tmp_path):
    model = nn.Linear(3, 2, dtype=torch.float64)
    ema = average_of(model, 0.5)
    tiny_fit(tmp_path, model=model, ema=ema, select="ema_acc1", epochs=1)
    assert torch.load(tmp_path / "best.pt", weights_only=True)["weight"].equal(ema.module.weight)
    assert not ema.module.weight.equal(model.weight)


def test_the_average_follows_every_step(tmp_path):
    model = nn.Linear(3, 2, dtype=torch.float64)
    ema = average_of(model, 0.5)
    weights = []

    def watch(inputs, labels, epoch):
        weights.append(model.weight.detach().clone())
        return inputs, labels

    tiny_fit(tmp_path, model=model, ema=ema, transform_batch=watch, epochs=1)
    begin, after_first_step = weights
    expected = 0.25 * begin + 0.25 * after_first_step + 0.5 * model.weight.detach()
    torch.testing.assert_close(ema.module.weight.detach(), expected)


def test_without_a_selection_there_is_no_best(tmp_path):
    tiny_fit(tmp_path, select=None, evaluate=lambda net: {})
    assert not (tmp_path / "best.pt").exists()


@pytest.mark.parametrize("batch_size", [6, 4, 3])
def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path, batch_size):
    data = TensorDataset(torch.randn(12, 3, dtype=torch.float64), torch.arange(12) % 2)
    whole, _ = tiny_fit(tmp_path / "whole", data=data, batch_size=12, epochs=1)
    parts, _ = tiny_fit(tmp_path / "parts", data=data, batch_size=batch_size, accumulate=12 // batch_size, epochs=1)
    torch.testing.assert_close(parts.weight, whole.weight, rtol=1e-12, atol=1e-14)


def test_batches_left_over_from_accumulation_make_no_step(tmp_path):
    data = TensorDataset(torch.randn(12, 3, dtype=torch.float64), torch.arange(12) % 2)
    settings = {"data": data, "batch_size": 4, "schedule": "step", "make_scheduler": tenfold_less}
    _, history = tiny_fit(tmp_path, accumulate=2, epochs=2, **settings)
    assert [row["lr"] for row in history] == pytest.approx([1e-2, 1e-3])  # three batches: one step
    assert tiny_fit(tmp_path, accumulate=2, epochs=3, resume=True, **settings)[1][-1]["lr"] == pytest.approx(1e-4)
    with pytest.raises(UserError, match="3 batches, fewer than the 4"):
        tiny_fit(tmp_path, accumulate=4, epochs=1, **settings)


def test_the_gradient_norm_is_clipped(tmp_path):
    model = nn.Linear(3, 2, bias=False, dtype=torch.float64)
    before = model.weight.detach().clone()
    tiny_fit(tmp_path, model=model, batch_size=8, epochs=1, rate=1.0, clip_grad=1e-3)
    assert (model.weight - before).norm().item() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(("schedule", "rates"), [("epoch", [0.1, 0.01]), ("step", [1e-3, 1e-5])])
def test_the_schedule_moves_per_epoch_or_per_step(tmp_path, schedule, rates):
    _, history = tiny_fit(tmp_path, schedule=schedule, make_scheduler=tenfold_less)
    assert [row["lr"] for row in history] == pytest.approx(rates)


def test_a_plateau_schedule_follows_the_training_loss(tmp_path):
    def plateau(optimizer):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=0, threshold=10, threshold_mode="abs"
        )

    _, history = tiny_fit(tmp_path, epochs=3, make_scheduler=plateau)
    assert [row["lr"] for row in history] == [0.1, 0.1, 0.05]


@pytest.mark.parametrize("loss_mean", ["samples", "batches"])
def test_the_loss_of_an_epoch_is_the_mean_over_samples_or_batches(tmp_path, loss_mean):
    seen, sizes = [], iter([3, 3, 2])
    _, history = tiny_fit(
        tmp_path,
        epochs=1,
        batch_size=3,
        loss_mean=loss_mean,
        on_step=lambda step, loss: seen.append((loss, next(sizes))),
    )
    weights = [size if loss_mean == "samples" else 1 for _, size in seen]
    expected = sum(loss * weight for (loss, _), weight in zip(seen, weights, strict=True)) / sum(weights)
    assert len(seen) == 3
    assert history[0]["train_loss"] == pytest.approx(expected, rel=1e-12)


def test_a_batch_transform_sees_the_epoch_and_makes_the_target(tmp_path):
    epochs = []

    def soften(inputs, labels, epoch):
        epochs.append(epoch)
        return inputs, torch.full((len(labels), 2), 0.5, dtype=inputs.dtype)

    tiny_fit(tmp_path, transform_batch=soften)
    assert epochs == [0, 0, 1, 1]


def test_the_callback_gets_the_history_and_the_bare_model(tmp_path):
    seen = []
    model, _ = tiny_fit(tmp_path, on_epoch_end=lambda net, history: seen.append((net, len(history))))
    assert seen == [(model, 1), (model, 2)]


def test_training_accuracy_can_be_left_out(tmp_path):
    _, history = tiny_fit(tmp_path, reduce_output=None)
    assert "train_acc1" not in history[0]


class Fixed(nn.Module):
    """Logits that do not depend on the sample: class 0 first, then 1, 2, ..."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.arange(7, 0, -1, dtype=torch.float64))

    def forward(self, x):
        return self.logits.expand(len(x), 7)


def test_training_accuracy_among_five_counts_those_that_are_near(tmp_path):
    data = TensorDataset(torch.randn(8, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 5, 6, 6]))
    _, history = tiny_fit(tmp_path, data=data, model=Fixed(), rate=0.0, top5=True)
    assert [(row["train_acc1"], row["train_acc5"]) for row in history] == [(12.5, 62.5)] * 2


def test_training_accuracy_can_be_that_of_the_target(tmp_path):
    def mix(inputs, labels, epoch):
        return inputs, torch.eye(7, dtype=torch.float64)[torch.full_like(labels, epoch)]

    _, history = tiny_fit(
        tmp_path,
        model=Fixed(),
        rate=0.0,
        transform_batch=mix,
        truth=lambda target: target.argmax(1),
    )
    assert [row["train_acc1"] for row in history] == [100.0, 0.0]


def test_a_network_may_return_several_outputs_in_training(tmp_path):
    class Pair(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    _, history = tiny_fit(
        tmp_path,
        model=Pair(3, 2, dtype=torch.float64),
        loss_fn=lambda output, target: nn.functional.cross_entropy(output[0], target),
        reduce_output=lambda output: output[0],
    )
    assert 0 <= history[0]["train_acc1"] <= 100


def test_a_gradient_scaler_can_be_given(tmp_path):
    class Counting(torch.amp.GradScaler):
        steps = 0

        def step(self, optimizer):
            self.steps += 1
            return super().step(optimizer)

    scaler = Counting(enabled=False)
    tiny_fit(tmp_path, scaler=scaler)
    assert scaler.steps == 4


def test_mixed_precision_on_the_cpu_is_bfloat16(tmp_path):
    kinds = []

    def loss_fn(output, target):
        kinds.append(output.dtype)
        return nn.functional.cross_entropy(output.float(), target)

    data = TensorDataset(torch.randn(8, 3), torch.arange(8) % 2)
    _, history = tiny_fit(tmp_path, data=data, model=nn.Linear(3, 2), amp=True, loss_fn=loss_fn)
    assert set(kinds) == {torch.bfloat16}
    assert math.isfinite(history[-1]["train_loss"])


def test_a_loss_that_is_not_finite_ends_the_run_and_saves_the_batch(tmp_path):
    with pytest.raises(UserError, match=r"not finite in epoch 2, batch 3; .*nonfinite_batch.pt"):
        train(tmp_path, "--nan-at", 13)
    batch = torch.load(tmp_path / "nonfinite_batch.pt", weights_only=True)
    assert (batch["epoch"], batch["batch"], len(batch["labels"])) == (2, 3, 4)


def test_a_loss_that_is_not_finite_leaves_the_last_checkpoint(tmp_path):
    with pytest.raises(UserError):
        train(tmp_path, "--nan-at", 13)
    weights = load_checkpoint(tmp_path / "checkpoint.pt")["model"].values()
    assert all(value.isfinite().all() for value in weights)


def test_too_few_samples_for_one_batch_are_an_error(tmp_path):
    with pytest.raises(UserError, match="smaller than one batch"):
        train(tmp_path, "-b", 64)


def test_an_output_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot create the folder"):
        train(tmp_path / "file" / "output")


def test_evaluation_runs_inside_the_loop_without_gradients(tmp_path):
    data = TensorDataset(torch.randn(8, 3, dtype=torch.float64), torch.arange(8) % 2)
    loader = make_loader(data, 4, train=False, process=PROCESS)
    _, history = tiny_fit(
        tmp_path, evaluate=lambda net: evaluate_classification(net, loader, nn.functional.cross_entropy, PROCESS)
    )
    assert history[-1]["test_samples"] == 8


def test_every_batch_of_the_run_is_told_with_its_loss(tmp_path):
    told = []
    _, history = tiny_fit(tmp_path, on_step=lambda batch, loss: told.append((batch, loss)))
    assert [batch for batch, _ in told] == [1, 2, 3, 4]
    assert sum(loss for _, loss in told[:2]) / 2 == pytest.approx(history[0]["train_loss"])


def test_weights_with_epochs_behind_them_train_the_remaining_ones(tmp_path):
    _, history = tiny_fit(tmp_path, epochs=5, epochs_done=3)
    assert [row["epoch"] for row in history] == [4, 5]


def test_a_network_without_blocks_cannot_compute_them_again(tmp_path):
    with pytest.raises(UserError, match="--grad-checkpointing: Linear cannot compute blocks again"):
        tiny_fit(tmp_path, scale=Scale(grad_checkpointing=True))


@pytest.mark.slow
def test_twenty_random_kills_change_nothing(tmp_path):
    switches = ["--random", "--epochs", 8, "--checkpoint-every", 2]
    train(tmp_path / "whole", *switches)
    switches = ["--output-dir", tmp_path / "parts", *switches]
    draws, killed = random.Random(0), 0
    while killed < 20:
        ended = run_program(TOY, *switches, "--kill-at", draws.randint(3, 6)).returncode
        assert ended == -signal.SIGKILL
        killed += 1
        switches = [*switches, "--resume"] if "--resume" not in switches else switches
    assert run_program(TOY, *switches).returncode == 0
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_the_last_checkpoints_stay_and_each_can_be_resumed(tmp_path):
    train(tmp_path / "run", "--random", "--checkpoint-every", 4, "--keep-checkpoints", 3)
    names = {path.name for path in (tmp_path / "run").glob("checkpoint*.pt")}
    assert names == {"checkpoint.pt", "checkpoint-2-4.pt", "checkpoint-2-8.pt", "checkpoint-3-0.pt"}
    train(tmp_path / "again", "--random", "--resume", tmp_path / "run" / "checkpoint-2-4.pt")
    assert outcome(tmp_path / "again") == outcome(tmp_path / "run")
    train(tmp_path / "run", "--random", "--resume")
    assert {path.name for path in (tmp_path / "run").glob("checkpoint*.pt")} == names
