"""Loaders whose order and random augmentation depend on seed, epoch and place alone: a run can go on from anywhere."""

import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info
from torch.utils.data.distributed import DistributedSampler

from common.errors import UserError
from common.training.launch import Process


def make_loader(
    dataset: Dataset,
    batch_size: int,
    *,
    train: bool,
    process: Process,
    seed: int = 0,
    workers: int = 0,
    drop_last: bool = False,
    pin_memory: bool | None = None,
    collate_fn: Callable[[list], object] | None = None,
    sampler: Sampler | None = None,
) -> DataLoader:
    """A loader of this process's share of `dataset`, `batch_size` samples at a time.

    Training: shuffled; batch k of N processes together is batch k of one process with N times the batch size, with
    the same random augmentation. Workers stay from epoch to epoch.
    Evaluation: in order, every sample in exactly one process; `seed` and `drop_last` have no effect.
    There are at most as many `workers` as cores for each process of this machine, and one if any are wanted.
    `pin_memory=None` pins when the device is CUDA.
    `sampler` replaces the shuffling of a training loader; it needs `set_epoch`, `seed`, `epoch`, `rank` and
    `num_replicas`, as a DistributedSampler has them.
    """
    common = {
        "batch_size": batch_size,
        "num_workers": min(workers, max(1, (os.cpu_count() or 1) // process.local_world_size)),
        "pin_memory": process.device.type == "cuda" if pin_memory is None else pin_memory,
        "worker_init_fn": _ignore_interrupts,
        "collate_fn": collate_fn,
    }
    if not train:
        # DistributedSampler would pad the last shard with samples that are then counted twice.
        return DataLoader(dataset, sampler=range(process.rank, len(dataset), process.world_size), **common)
    if sampler is None:
        sampler = DistributedSampler(dataset, process.world_size, process.rank, seed=seed, drop_last=drop_last)
    common["persistent_workers"] = common["num_workers"] > 0
    # a generator of its own, lest a new epoch move the global one on
    common["generator"] = torch.Generator()
    return DataLoader(_Drawn(dataset), sampler=Places(sampler), drop_last=drop_last, **common)


def make_shared_loader(
    dataset: Dataset, batch_size: int, *, train: bool, process: Process, seed: int, workers: int
) -> DataLoader:
    """`make_loader` with a batch size that all processes share.

    Raises:
        UserError: fewer samples in a batch than processes.
    """
    if batch_size < process.world_size:
        raise UserError(
            f"a batch of {batch_size} cannot be shared by {process.world_size} processes; raise -b or start fewer"
        )
    share = batch_size // process.world_size
    return make_loader(dataset, share, train=train, process=process, seed=seed, workers=workers)


def stack_time_first(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """Batch of (frames `[T, C, H, W]`, label) samples as frames `[T, B, C, H, W]` and labels `[B]`."""
    frames, labels = zip(*samples, strict=True)
    return torch.stack(frames, dim=1), torch.tensor(labels)


class EndlessSampler(DistributedSampler):
    """A process's share of a data set that is shuffled anew each time it has been gone through, for ever.

    An epoch of the loop is then a round of `samples` samples per process, wherever they begin, so that a run of so many
    iterations is evaluated after each round and resumed like any other.
    """

    def __init__(self, dataset: Dataset, process: Process, seed: int, samples: int):
        super().__init__(dataset, process.world_size, process.rank, seed=seed)
        self.num_samples = samples

    def __iter__(self) -> Iterator[int]:
        length, shuffle, order = len(self.dataset), None, []
        first = self.epoch * self.num_samples * self.num_replicas + self.rank
        for position in range(first, first + self.num_samples * self.num_replicas, self.num_replicas):
            if shuffle != position // length:
                shuffle = position // length
                generator = torch.Generator().manual_seed(self.seed + shuffle)
                order = torch.randperm(length, generator=generator).tolist()
            yield order[position % length]


class GroupedSampler(DistributedSampler):
    """Shuffled like a DistributedSampler, then ordered so that the samples of a batch are of one group.

    `group(index)` tells the groups apart; what is left of them at the end shares batches.
    """

    def __init__(self, dataset: Dataset, process: Process, seed: int, batch_size: int, group: Callable[[int], object]):
        super().__init__(dataset, process.world_size, process.rank, seed=seed)
        self.batch_size, self.group = batch_size, group

    def __iter__(self) -> Iterator[int]:
        waiting: dict[object, list[int]] = {}
        for index in super().__iter__():
            batch = waiting.setdefault(self.group(index), [])
            batch.append(index)
            if len(batch) == self.batch_size:
                yield from waiting.pop(self.group(index))
        for rest in waiting.values():
            yield from rest


class Places(Sampler):
    """The order of another sampler, each index with what the random numbers of that sample follow from."""

    def __init__(self, order: DistributedSampler):
        self.order, self.first = order, 0

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[int, tuple[int, int, int]]]:
        order = self.order
        for number, index in enumerate(order):
            if number >= self.first:
                yield index, (order.seed, order.epoch, number * order.num_replicas + order.rank)


class _Drawn(Dataset):
    """Samples that draw their random numbers from what `Places` gives with their index, whoever makes them."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __getitem__(self, place: tuple[int, tuple[int, int, int]]) -> object:
        index, entropy = place
        with _random_numbers(entropy):
            return self.dataset[index]


@contextmanager
def _random_numbers(entropy: tuple[int, ...]) -> Iterator[None]:
    """Draw those that follow from `entropy`; in the main process go on afterwards where the others were."""
    shared = get_worker_info() is None
    if shared:
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    first, second = np.random.SeedSequence(entropy).generate_state(2, np.uint64)
    random.seed(int(first))
    np.random.seed(int(second) >> 32)  # NumPy wants 32 bits, torch 63
    torch.default_generator.manual_seed(int(first) >> 1)
    try:
        yield
    finally:
        if shared:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_rng_state(before[2])


def moved(batch: object, device: torch.device) -> object:
    """`batch`, a tensor or a list, tuple or dictionary with tensors in it, on `device`."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: moved(value, device) for key, value in batch.items()}
    return type(batch)(moved(value, device) for value in batch) if isinstance(batch, list | tuple) else batch


def start_epoch(loader: DataLoader, epoch: int, batches: int = 0) -> None:
    """Let a training loader begin `epoch` after so many `batches`, whose samples are then not made."""
    loader.sampler.order.set_epoch(epoch)
    loader.sampler.first = batches * loader.batch_size


@contextmanager
def ended_workers(loader: DataLoader) -> Iterator[None]:
    """End the workers of a training loader with the block, which otherwise live as long as it does."""
    try:
        yield
    finally:
        loader._iterator = None  # where torch keeps them


def _ignore_interrupts(_worker: int) -> None:
    """Let Ctrl-C reach only the main process, which finishes its step and saves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
