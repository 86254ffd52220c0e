import json

import pytest
import torch

from common.training import load_checkpoint
from tests.common.training import toy
from tests.common.training.runs import TOY, outcome, start_pair, start_with
from tests.programs import run_pair, run_program


@pytest.fixture(scope="module")
def two_and_one(tmp_path_factory):
    """The same training in two launched processes and in one with twice the batch size."""
    two, one = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("one")
    for result in run_pair(TOY, "--output-dir", two, "-b", 4, flag=True):
        assert result.returncode == 0, result.stderr
    toy.main(["--output-dir", str(one), "-b", "8"])
    return load_checkpoint(two / "checkpoint.pt"), load_checkpoint(one / "checkpoint.pt"), two


@pytest.mark.parametrize("key", ["train_loss", "test_loss", "train_acc1", "test_acc1", "test_acc5"])
def test_two_processes_follow_the_curve_of_one_with_twice_the_batch(two_and_one, key):
    two, one, _ = two_and_one
    assert [row[key] for row in two["history"]] == pytest.approx([row[key] for row in one["history"]], rel=1e-9)


def test_two_processes_end_with_the_weights_of_one(two_and_one):
    two, one, _ = two_and_one
    for key, value in one["model"].items():
        torch.testing.assert_close(two["model"][key], value, rtol=1e-8, atol=1e-10)


def test_an_odd_test_set_is_counted_once_over_two_processes(two_and_one):
    two, _, _ = two_and_one
    assert two["history"][-1]["test_samples"] == toy.SAMPLES == 41


def test_only_one_process_writes_the_log(two_and_one):
    _, _, folder = two_and_one
    assert [json.loads(line)["epoch"] for line in (folder / "log.jsonl").read_text().splitlines()] == [1, 2, 3]


@pytest.fixture(scope="module")
def stopped_pair(tmp_path_factory):
    """Two processes with random everything: undisturbed, and stopped by a signal to one of them, then resumed."""
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    switches = ["-b", 2, "--random", "--ema", "--epochs", 2]
    undisturbed = ["--output-dir", whole, *switches]
    stopped = ["--output-dir", parts, *switches, "--stop-at", 13]
    resumed = ["--output-dir", parts, *switches, "--resume"]
    return whole, parts, start_pair(undisturbed, stopped, resumed)


def test_a_signal_to_one_process_stops_all_of_them(stopped_pair):
    assert [printed.count("exit status 143") for printed in stopped_pair[2]] == [1, 1]


def test_a_stopped_run_says_how_to_continue(stopped_pair):
    _, parts, printed = stopped_pair
    assert "stopped by SIGTERM in epoch 2 after 3 of 10 batches" in printed[0]
    assert f"--resume {parts / 'checkpoint.pt'}" in printed[0]


def test_two_processes_resume_exactly(stopped_pair):
    whole, parts, _ = stopped_pair
    assert outcome(parts) == outcome(whole)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoiled")
    result = start_with("torch.distributed.run", "--output-dir", folder, "-b", 4, "--nan-at", 7, "--sync-bn")
    return folder, result


def test_every_process_ends_when_the_loss_of_one_is_not_finite(spoiled):
    folder, result = spoiled
    line = f"error: the loss is not finite in epoch 2, batch 2; that batch is saved in {folder / 'nonfinite_batch.pt'}"
    assert result.stderr.count(line) == 2


def test_the_batch_of_the_process_that_saw_it_is_saved(spoiled):
    folder, _ = spoiled
    batch = torch.load(folder / "nonfinite_batch.pt", weights_only=True)
    assert batch["inputs"].shape == (4, toy.FEATURES)


def test_sync_bn_on_the_cpu_is_said_to_be_left_out(spoiled):
    assert spoiled[1].stdout.count("note: torch synchronises batch norm on CUDA only") == 1


def test_a_killed_run_resumes_exactly(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    toy.main(["--output-dir", str(whole), "--random"])
    killed = run_program(TOY, "--output-dir", parts, "--random", "--kill-after", 2)
    toy.main(["--output-dir", str(parts), "--random", "--resume"])
    assert killed.returncode == -9
    assert outcome(parts) == outcome(whole)


@pytest.mark.slow
def test_torchrun_starts_all_again_when_one_dies_and_the_run_is_as_if_none_had(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    switches = ["-b", 2, "--random", "--epochs", 3, "--checkpoint-every", 4]
    start_pair(["--output-dir", whole, *switches])
    result = start_with(
        "torch.distributed.run",
        "--output-dir",
        parts,
        *switches,
        "--resume",
        "--kill-at",
        22,
        launcher=["--max-restarts", "1"],
    )
    assert result.returncode == 0, result.stderr
    assert "exitcode: -9" in result.stderr
    assert outcome(parts) == outcome(whole)
