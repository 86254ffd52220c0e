"""Predicts how fast training is on many devices from a step on one, before they are paid for.

    python tools/simulate_scale.py sdt_v3_19m --batch 4
    python tools/simulate_scale.py sdt_v3_173m --batch 32 --step 410 --bandwidth 150
    python tools/simulate_scale.py sma_vgg8_cifar10dvs --kwargs T=4 --batch 4 --check
    python tools/simulate_scale.py --published

N devices exchange gradients of G bytes in a ring of bandwidth W with a latency a for each message, which takes
e = 2 (N - 1) (G / (N W) + a). `DistributedDataParallel` exchanges during the backward pass: a step takes between
max(c, e) and c + e if one device alone takes c. Loading data, and devices that wait for the slowest, are left out.

`--check` measures c, W and a here with gloo, predicts 1, 2 and 4 processes and runs them. As these share the cores of
one machine, c is then that of so many processes at work without an exchange.

`--published` prints what one network of each paper takes here, for docs/scale.md; on an idle machine that is right.
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
from tools.benchmarks.measure import in_fresh_process, peak_memory, return_freed_memory
from tools.networks import build

DEVICES = (1, 2, 4, 8, 16, 32, 64)
CHECKED = (1, 2, 4)
STEPS = 5
SMALL = 1024
"""Bytes whose exchange is all latency."""

PUBLISHED = {
    "SMA-VGG8, DVS128 Gesture": ("sma_vgg8_dvs128", ["T=16", "num_classes=11"], 1, 1_176),
    "MA-SNN, DVS128 Gesture": ("ma_snn_dvsgestures", ["T=60", "attention='TCSA'"], 2, 1_175),
    "GAC-MS-ResNet18, CIFAR": ("gac_ms_resnet18_cifar", ["T=6"], 2, 50_000),
    "MS-ResNet18, ImageNet": ("ms_resnet18", ["T=6"], 1, 1_281_167),
    "Spikingformer 4-384, CIFAR": ("spikingformer_cifar_4_384", ["T=4"], 2, 50_000),
    "Spikingformer 8-512, ImageNet": ("spikingformer_8_512", ["T=4"], 1, 1_281_167),
    "SDT V3 19 M, ImageNet": ("sdt_v3_19m", [], 2, 1_281_167),
    "SDT V3 173 M, ImageNet": ("sdt_v3_173m", [], 1, 1_281_167),
}
"""{what: (network, its arguments, batch, samples of an epoch)}, at the published size of the input."""


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
    if options.published is not None:
        costs(options.published or [""])
        return
    model = build(options.network, options.kwargs)
    gradients = gradient_bytes(model)
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
    parser.add_argument("network", nargs="?", help="its timm name")
    parser.add_argument("--kwargs", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the network")
    parser.add_argument("--batch", type=int, default=1, help="samples per device and step (default: %(default)s)")
    parser.add_argument("--step", type=float, help="milliseconds of a step on one device; measured here if not given")
    parser.add_argument("--bandwidth", type=float, default=12.5, help="GB/s between neighbours (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=20, help="of a message in us (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="predict and run 1, 2 and 4 processes of this machine")
    parser.add_argument(
        "--published", nargs="*", metavar="WORD", help="memory and time of one network of each paper, or those so named"
    )
    options = parser.parse_args(arguments)
    if (options.published is None) == (options.network is None):
        raise UserError("give the name of a network, or --published")
    if options.batch < 1 or options.bandwidth <= 0 or options.latency < 0 or (options.step or 1) <= 0:
        raise UserError("--batch, --step and --bandwidth must be positive, --latency not negative")
    return options


def costs(words: list[str]) -> None:
    """Print a row of the table in docs/scale.md for each network with one of `words` in its name."""
    print(f"{torch.get_num_threads()} threads, float32, random input, forward and backward without an optimizer\n")
    print("| network | gradients, GB | activations of a sample, MB | ms of a sample | hours of an epoch |")
    print("|---|---|---|---|---|", flush=True)
    for what, (name, kwargs, batch, samples) in PUBLISHED.items():
        if not any(word in what for word in words):
            continue
        gradients = gradient_bytes(build(name, kwargs))
        memory = in_fresh_process(activations, name, kwargs, batch)
        seconds = in_fresh_process(alone, name, kwargs, batch) / batch
        shown = "" if memory is None else f"{memory / batch / 1e6:.0f}"
        hours = f"{seconds * samples / 3600:.2g}" if seconds * samples < 36e4 else f"{seconds * samples / 3600:.0f}"
        print(f"| {what} | {gradients / 1e9:.3f} | {shown} | {1e3 * seconds:.0f} | {hours} |", flush=True)


def gradient_bytes(model: nn.Module) -> int:
    """Bytes of all gradients of a step, which is what devices exchange."""
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)


def activations(network: str, kwargs: list[str], batch: int) -> int | None:
    """Bytes that a step allocates at most beside weights, gradients and input; for a process of its own."""
    return_freed_memory()
    return peak_memory(step_of(build(network, kwargs), batch, set_to_none=False))


def alone(network: str, kwargs: list[str], batch: int) -> float:
    """Median seconds of a step; for a process of its own."""
    return statistics.median(timed(step_of(build(network, kwargs), batch)))


def exchange_time(devices: int, size: int, bandwidth: float, latency: float) -> float:
    """Seconds in which a ring of `devices` sums `size` bytes; `bandwidth` in bytes/s, `latency` in s."""
    return 2 * (devices - 1) * (size / (devices * bandwidth) + latency)


def bounds(alone: float, exchange: float) -> tuple[float, float]:
    """Shortest and longest time of a step, with all of the exchange hidden behind it or none."""
    return max(alone, exchange), alone + exchange


def step_of(model: nn.Module, batch: int, set_to_none: bool = True) -> Callable[[], None]:
    """A training step on random input, without an optimizer; gradients keep their memory without `set_to_none`."""
    bare = getattr(model, "module", model)
    images = torch.rand(bare.layout.shape(batch))
    model.train()

    def step() -> None:
        model.zero_grad(set_to_none)
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
