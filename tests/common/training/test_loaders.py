import os
import random
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from common.errors import UserError
from common.training import EndlessSampler, GroupedSampler, Process, make_loader, make_shared_loader
from common.training.loaders import moved, start_epoch


def processes(count):
    return [Process(rank, count, rank, torch.device("cpu")) for rank in range(count)]


class Draws(Dataset):
    """Sample i is i and one number of each random generator."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def batches(dataset, size, process, epoch=0, **options):
    loader = make_loader(dataset, size, train=True, process=process, **options)
    start_epoch(loader, epoch)
    return [batch.tolist() for batch in loader]


def draws(epoch, rank=0, seed=0):
    """What the samples of an epoch look like when two workers make them."""
    loader = make_loader(Draws(), 4, train=True, process=processes(2)[rank], seed=seed, workers=2)
    start_epoch(loader, epoch)
    return [torch.stack([field.double() for field in batch]).tolist() for batch in loader]


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 7))
def test_evaluation_sees_every_sample_exactly_once(samples, count, size):
    seen = [
        index
        for process in processes(count)
        for batch in make_loader(range(samples), size, train=False, process=process)
        for index in batch.tolist()
    ]
    assert sorted(seen) == list(range(samples))


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 5), st.integers(0, 3))
def test_a_global_batch_is_that_of_one_process(samples, count, size, epoch):
    shares = [batches(range(samples), size, process, epoch, drop_last=True) for process in processes(count)]
    together = [sorted(chain(*parts)) for parts in zip(*shares, strict=True)]
    (alone,) = processes(1)
    assert together == [sorted(batch) for batch in batches(range(samples), size * count, alone, epoch, drop_last=True)]


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 0)])
def test_the_order_depends_on_seed_and_epoch(seed, epoch):
    (alone,) = processes(1)
    assert batches(range(50), 50, alone, epoch, seed=seed) != batches(range(50), 50, alone, 0, seed=0)


def test_workers_repeat_all_random_numbers_of_an_epoch():
    first = draws(epoch=3)
    torch.rand(7), np.random.rand(7), random.random()
    assert draws(epoch=3) == first


@pytest.mark.parametrize("other", [{"epoch": 4}, {"epoch": 3, "rank": 1}, {"epoch": 3, "seed": 1}], ids=str)
def test_workers_draw_other_numbers_in_another_epoch_rank_or_seed(other):
    def numbers(epoch, **which):
        return {value for batch in draws(epoch, **which) for row in batch[1:] for value in row}

    assert not numbers(epoch=3) & numbers(**other)


def made(size, process, workers=0, batches=0):
    """The samples of epoch 2, and which of them were made by this process."""
    data = Draws()
    data.seen, fetch = [], Draws.__getitem__
    data.__class__ = type("Noted", (Draws,), {"__getitem__": lambda self, i: self.seen.append(i) or fetch(self, i)})
    loader = make_loader(data, size, train=True, process=process, workers=workers)
    start_epoch(loader, 2, batches)
    return [torch.stack([field.double() for field in batch], 1).tolist() for batch in loader], data.seen


def test_samples_are_the_same_with_any_number_of_workers_and_processes():
    (alone,), pair = processes(1), processes(2)
    samples, _ = made(4, alone)
    assert made(4, alone, workers=2)[0] == samples
    shares = [made(2, process)[0] for process in pair]
    assert [sorted(chain(*parts)) for parts in zip(*shares, strict=True)] == [sorted(batch) for batch in samples]


def test_an_epoch_that_goes_on_makes_only_what_is_left():
    (alone,) = processes(1)
    whole, _ = made(3, alone)
    rest, seen = made(3, alone, batches=2)
    assert rest == whole[2:]
    assert seen == [row[0] for batch in rest for row in batch]


def test_making_samples_leaves_the_random_numbers_of_the_main_process_alone():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    made(4, processes(1)[0])
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected


def test_processes_share_a_batch():
    sizes = [
        make_shared_loader(Draws(), 4, train=True, process=process, seed=0, workers=0).batch_size
        for process in processes(2)
    ]
    assert sizes == [2, 2]


def test_no_more_workers_start_than_there_are_cores():
    loader = make_shared_loader(Draws(), 4, train=True, process=processes(1)[0], seed=0, workers=10_000)
    assert loader.num_workers <= os.cpu_count()


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(UserError, match="cannot be shared by 2 processes"):
        make_shared_loader(Draws(), 1, train=True, process=processes(2)[0], seed=0, workers=0)


def test_a_sampler_of_ones_own_decides_what_an_epoch_shows():
    class Twice(DistributedSampler):
        def __iter__(self):
            return iter([self.epoch, self.epoch])

    (alone,) = processes(1)
    sampler = Twice(range(8), num_replicas=1, rank=0, seed=0)
    assert batches(range(8), 2, alone, epoch=5, sampler=sampler) == [[5, 5]]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("cores, local, workers", [(64, 8, 8), (64, 65, 1), (2, 1, 2)])
def test_the_processes_of_one_machine_share_its_cores_among_their_workers(monkeypatch, cores, local, workers):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    process = Process(0, 8 * local, 0, torch.device("cpu"), local)
    assert make_loader(range(4), 2, train=False, process=process, workers=10).num_workers == min(workers, 10)
    assert make_loader(range(4), 2, train=False, process=process, workers=0).num_workers == 0


def test_rounds_of_iterations_go_through_the_shuffled_set_again_and_again():
    ranks = processes(2)
    rounds = [
        [batches(range(5), 1, rank, epoch, sampler=EndlessSampler(range(5), rank, seed=3, samples=4)) for rank in ranks]
        for epoch in range(5)
    ]
    stream = [index for both in rounds for pair in zip(*both, strict=True) for batch in pair for index in batch]
    passes = [tuple(stream[start : start + 5]) for start in range(0, 40, 5)]
    assert all(sorted(each) == [*range(5)] for each in passes), "each sample once per pass, over all processes"
    assert len(set(passes)) > 4, "in another order each time"
    alone = [batches(range(5), 2, processes(1)[0], epoch, sampler=EndlessSampler(range(5), processes(1)[0], 3, 8))
             for epoch in range(5)]  # fmt: skip
    assert [*chain.from_iterable(chain.from_iterable(alone))] == stream, "two processes share what one would see"


def test_batches_are_of_one_group_as_far_as_there_are_enough():
    (alone,) = processes(1)
    sampler = GroupedSampler(range(20), alone, seed=0, batch_size=3, group=lambda index: index < 7)
    found = batches(range(20), 3, alone, epoch=1, sampler=sampler)
    assert sorted(chain.from_iterable(found)) == [*range(20)]
    assert sum(len({index < 7 for index in batch}) > 1 for batch in found) <= 1
    assert found != batches(range(20), 3, alone, epoch=2, sampler=sampler)


def test_every_tensor_of_a_batch_is_moved_and_the_rest_stays():
    x = torch.zeros(2)
    batch = ([x, {"boxes": x, "name": "a"}], (3, None))
    found = moved(batch, torch.device("meta"))
    assert found[1] == (3, None) and found[0][1]["name"] == "a"
    assert found[0][0].is_meta and found[0][1]["boxes"].is_meta and isinstance(found[0], list)
