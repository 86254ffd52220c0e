"""Checkpoints that are written while training goes on: one at a time, by a thread, from a copy in host memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import torch
from torch import Tensor

from common.training.launch import Process, max_over_ranks


class Writer:
    """The write that is under way, if any, and the memory of the copy, which the next write uses again."""

    def __init__(self, process: Process):
        self.process = process
        self.pending: Future[None] | None = None
        self.memory: dict[str, object] = {}

    def copy(self, content: dict[str, object]) -> dict[str, object]:
        """A copy of a checkpoint's content for `begin`, good until the next one."""
        self.memory = _copied(content, self.memory)
        return self.memory

    def begin(self, work: Callable[[], None]) -> None:
        """Do `work` in a thread, which ends with it: none is there when a loader forks its workers."""
        pool = ThreadPoolExecutor(1)
        self.pending = pool.submit(work)
        pool.shutdown(wait=False)

    def wait(self) -> None:
        """Wait for what was begun, in all processes; raises what it raised."""
        if self.pending is None:
            return
        pending, self.pending = self.pending, None
        pending.result()
        max_over_ranks([0], self.process)


@contextmanager
def beside_training(process: Process) -> Iterator[Writer]:
    """A `Writer` that leaves no write unfinished, however the `with` block ends."""
    writer = Writer(process)
    try:
        yield writer
    finally:
        wait([writer.pending] if writer.pending is not None else [])


def _copied(value: object, kept: object) -> object:
    """`value` with its tensors in host memory, in that of `kept`, an earlier copy, where they fit."""
    if isinstance(value, Tensor):
        if not isinstance(kept, Tensor) or (kept.shape, kept.dtype) != (value.shape, value.dtype):
            kept = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda, requires_grad=False)
        return kept.copy_(value.detach())
    if isinstance(value, dict):
        kept = kept if isinstance(kept, dict) else {}
        return {key: _copied(item, kept.get(key)) for key, item in value.items()}
    return [_copied(item, None) for item in value] if isinstance(value, list) else value
