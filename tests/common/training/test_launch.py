import argparse
import random

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.training import Process, begin, launch, main_first, run, seed_everything, start, sum_over_ranks


@pytest.fixture
def alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_without_a_launcher_there_is_one_process(alone):
    process = start("cpu")
    assert (process.rank, process.world_size, process.device.type, process.is_main) == (0, 1, "cpu", True)


def test_the_local_rank_of_the_environment_wins(alone):
    alone.setenv("LOCAL_RANK", "1")
    assert start("cpu", local_rank=3).local_rank == 1


def test_the_local_rank_of_the_flag_is_used_without_the_environment(alone):
    assert start("cpu", local_rank=3).local_rank == 3


def test_auto_takes_the_cpu_without_cuda(alone):
    alone.setattr(torch.cuda, "is_available", lambda: False)
    assert start("auto").device.type == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_without_a_device_is_an_error(alone, device):
    alone.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=f"--device {device}: .* use --device cpu"):
        start(device)


@pytest.mark.parametrize("device", ["gpu", "meta"])
def test_an_unknown_device_is_an_error(alone, device):
    with pytest.raises(UserError, match=f"--device {device}: .*expected auto, cpu or cuda"):
        start(device)


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_a_seed_repeats_all_generators():
    seed_everything(5)
    first = draw()
    seed_everything(5)
    assert draw() == first


def test_ranks_draw_different_numbers():
    seed_everything(5, rank=0)
    first = draw()
    seed_everything(5, rank=1)
    assert all(a != b for a, b in zip(first, draw(), strict=True))


def test_a_user_error_is_one_line_and_status_2(capsys):
    def main():
        raise UserError("no data in here; look there")

    with pytest.raises(SystemExit) as left:
        run(main)
    assert left.value.code == 2
    assert capsys.readouterr().err == "error: no data in here; look there\n"


def test_other_errors_show():
    def main():
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        run(main)


def test_a_sum_over_one_process_is_the_values(alone):
    assert sum_over_ranks([1.5, 2], start("cpu")) == [1.5, 2]


def test_an_error_in_a_loader_worker_is_one_line_too(capsys):
    def main():
        raise UserError("Caught UserError in DataLoader worker process 0.\nTraceback\ncommon.errors.UserError: damaged")

    with pytest.raises(SystemExit):
        run(main)
    assert capsys.readouterr().err == "error: damaged\n"


@pytest.mark.parametrize("deterministic", [False, True])
def test_cudnn_is_as_reproducible_as_a_script_asks(alone, deterministic):
    alone.setattr(torch.backends.cudnn, "deterministic", not deterministic)
    alone.setattr(torch.backends.cudnn, "benchmark", deterministic)
    begin(argparse.Namespace(device="cpu", local_rank=-1, ignored=[], seed=0, deterministic=deterministic))
    assert torch.backends.cudnn.deterministic is deterministic
    assert torch.backends.cudnn.benchmark is not deterministic


@pytest.mark.parametrize("local, order", [("1", ["made", "met"]), ("", ["met", "made"])])
def test_with_disks_of_their_own_the_first_process_of_each_node_makes_files(alone, local, order):
    events = []
    alone.setenv("SNN_NODE_LOCAL", local)
    alone.setattr(launch, "max_over_ranks", lambda values, process: events.append("met") or values)
    prepares = start("cpu", local_rank=0).prepares
    with main_first(Process(2, 4, 0, torch.device("cpu"), 2, prepares)):
        events.append("made")
    assert events == order


def test_a_node_that_is_well_ends_when_another_could_not_make_its_files(alone):
    alone.setattr(launch, "max_over_ranks", lambda values, process: [1])
    with pytest.raises(SystemExit), main_first(Process(2, 4, 0, torch.device("cpu"), 2, True)):
        pass
