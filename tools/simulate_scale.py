"""Predicts how fast training is on many devices from a step on one, before they are paid for.

    python tools/simulate_scale.py sdt_v3_19m --batch 4
    python tools/simulate_scale.py sdt_v3_173m --batch 32 --step 410 --bandwidth 150
    python tools/simulate_scale.py sma_vgg8_cifar10dvs --kwargs T=4 --batch 4 --check

N devices exchange gradients of G bytes in a ring of bandwidth W with a latency a for each message, which takes
e = 2 (N - 1) (G / (N W) + a). `DistributedDataParallel` exchanges during the backward pass: a step takes between
max(c, e) and c + e if one device alone takes c. Loading data, and devices that wait for the slowest, are left out.

`--check` measures c, W and a here with gloo, predicts 1, 2 and 4 processes and runs them. As these share the cores of
one machine, c is then that of so many processes at work without an exchange.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import nn

from common.errors import UserError
from common.training import run
from tools.networks import build

DEVICES = (1, 2, 4, 8, 16, 32, 64)
CHECKED = (1, 2, 4)
STEPS = 5
SMALL = 1024
"""Bytes whose exchange is all latency."""


class Measured(NamedTuple):
    """What so many processes found, in seconds."""

    alone: float
    """A step of all of them at once, without an exchange."""
    together: float
    """The same with `DistributedDataParallel`."""
    whole: float
    """The exchange of all gradients by itself."""
    small: float
    """The exchange of `SMALL` bytes."""


def main(arguments: list[str] | None = None) -> None:
    """Print the prediction that the command line asks for."""
    options = parse(arguments)
    model = build(options.network, options.kwargs)
    gradients = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    print(f"{options.network}: {gradients / 2**20:.1f} MiB of gradients, {options.batch} samples per device and step")
    if options.check:
        check(options, gradients)
        return
    seconds = options.step / 1e3 if options.step else statistics.median(timed(step_of(model, options.batch)))
    where = "given" if options.step else f"measured here, {torch.get_num_threads()} threads"
    print(f"one step {1e3 * seconds:.1f} ms ({where}); ring of {options.bandwidth:g} GB/s, {options.latency:g} us")
    print("\ndevices   samples/s            efficiency")
    for devices in DEVICES:
        exchange = exchange_time(devices, gradients, options.bandwidth * 1e9, options.latency / 1e6)
        low, high = (devices * options.batch / time for time in reversed(bounds(seconds, exchange)))
        share = [100 * rate * seconds / (devices * options.batch) for rate in (low, high)]
        print(f"{devices:7d}   {low:9.1f} - {high:9.1f}   {share[0]:3.0f} - {share[1]:3.0f} %")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="its timm name")
    parser.add_argument("--kwargs", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the network")
    parser.add_argument("--batch", type=int, required=True, help="samples per device and step")
    parser.add_argument("--step", type=float, help="milliseconds of a step on one device; measured here if not given")
    parser.add_argument("--bandwidth", type=float, default=12.5, help="GB/s between neighbours (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=20, help="of a message in us (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="predict and run 1, 2 and 4 processes of this machine")
    options = parser.parse_args(arguments)
    if options.batch < 1 or options.bandwidth <= 0 or options.latency < 0 or (options.step or 1) <= 0:
        raise UserError("--batch, --step and --bandwidth must be positive, --latency not negative")
    return options


def exchange_time(devices: int, size: int, bandwidth: float, latency: float) -> float:
    """Seconds in which a ring of `devices` sums `size` bytes; `bandwidth` in bytes/s, `latency` in s."""
    return 2 * (devices - 1) * (size / (devices * bandwidth) + latency)


def bounds(alone: float, exchange: float) -> tuple[float, float]:
    """Shortest and longest time of a step, with all of the exchange hidden behind it or none."""
    return max(alone, exchange), alone + exchange


def step_of(model: nn.Module, batch: int) -> Callable[[], None]:
    """A training step on random input, without an optimizer."""
    bare = getattr(model, "module", model)
    images = torch.rand(bare.layout.shape(batch))
    model.train()

    def step() -> None:
        model.zero_grad()
        output = model(images)
        parts = output if isinstance(output, tuple) else (output,)
        sum(part.square().mean() for part in parts if part.requires_grad).backward()

    return step


def timed(work: Callable[[], object]) -> list[float]:
    """Seconds of each of `STEPS` runs, after one that does not count."""
    work()
    durations = []
    for _ in range(STEPS):
        if dist.is_initialized():
            dist.barrier()
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return durations


def measure(rank: int, count: int, options: argparse.Namespace, meeting: Path) -> Measured:
    """Take the times of one of `count` processes; for a process of its own."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=count)
    model = build(options.network, options.kwargs)
    gradients = torch.zeros(sum(p.numel() for p in model.parameters() if p.requires_grad))
    alone = timed(step_of(model, options.batch))
    unused = any(p.grad is None for p in model.parameters())
    shared = nn.parallel.DistributedDataParallel(model, find_unused_parameters=unused)
    together = timed(step_of(shared, options.batch))
    whole = timed(lambda: dist.all_reduce(gradients))
    small = timed(lambda: dist.all_reduce(gradients[: SMALL // 4]))
    dist.destroy_process_group()
    return Measured(*map(statistics.median, (alone, together, whole, small)))


def check(options: argparse.Namespace, gradients: int) -> None:
    """Predict `CHECKED` processes from what two of them exchange, and print beside it what came out."""
    found = {}
    for count in CHECKED:
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool,
        ):
            given = [pool.submit(measure, rank, count, options, Path(folder) / "meeting") for rank in range(count)]
            times = [future.result() for future in given]
        found[count] = Measured(*(statistics.mean(values) for values in zip(*times, strict=True)))
    latency = found[2].small / 2
    bandwidth = gradients / max(found[2].whole - found[2].small, 1e-9)
    print(f"between two processes: {bandwidth / 1e9:.2f} GB/s, {1e6 * latency:.0f} us")
    print("\nprocesses   step alone   predicted step       measured")
    for count, times in found.items():
        low, high = bounds(times.alone, exchange_time(count, gradients, bandwidth, latency))
        print(
            f"{count:9d}   {1e3 * times.alone:7.1f} ms   {1e3 * low:7.1f} - {1e3 * high:7.1f} ms   "
            f"{1e3 * times.together:7.1f} ms"
        )


if __name__ == "__main__":
    run(main)
