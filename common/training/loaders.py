"""Loaders whose order and random augmentation depend on (seed, epoch, rank) alone, so that a run can be replayed."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
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

    Training: shuffled; batch k of N processes together is batch k of one process with N times the batch size.
    Evaluation: in order, every sample in exactly one process; `seed` and `drop_last` have no effect.
    Workers start anew each epoch, because persistent ones would carry random state that no checkpoint can hold.
    There are at most as many `workers` as cores for each process of this machine, and one if any are wanted.
    `pin_memory=None` pins when the device is CUDA.
    `sampler` replaces the shuffling of a training loader; it needs `set_epoch`, `seed` and `rank`, as a
    DistributedSampler has them.
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
    return DataLoader(dataset, sampler=sampler, drop_last=drop_last, generator=torch.Generator(), **common)


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


def moved(batch: object, device: torch.device) -> object:
    """`batch`, a tensor or a list, tuple or dictionary with tensors in it, on `device`."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: moved(value, device) for key, value in batch.items()}
    return type(batch)(moved(value, device) for value in batch) if isinstance(batch, list | tuple) else batch


def start_epoch(loader: DataLoader, epoch: int) -> None:
    """Set the order and the worker seeds of a training loader for `epoch`; torch seeds Python and NumPy from them."""
    sampler = loader.sampler
    sampler.set_epoch(epoch)
    word = np.random.SeedSequence([sampler.seed, epoch, sampler.rank]).generate_state(1, np.uint64)[0]
    loader.generator.manual_seed(int(word) >> 1)  # torch wants 63 bits


def _ignore_interrupts(_worker: int) -> None:
    """Let Ctrl-C reach only the main process, which finishes its step and saves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
