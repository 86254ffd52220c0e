"""Measuring: fresh processes, interleaved rounds, peak memory, copy bandwidth, and the machine they were taken on."""

import ctypes
import gc
import importlib.util
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import torch

from common.errors import UserError
from common.kernels import retain_memory
from common.kernels.memory import output_pool

PEERS = ("spikingjelly", "snntorch", "norse")
"""Packages that are compared where they are installed."""

_START = time.monotonic()
_M_MMAP_THRESHOLD = -3  # of mallopt(3)

Clock = Callable[[], float]
Variant = Callable[[Clock], dict[str, float]]
"""Does its work once and returns the seconds of each of its measures."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Setting:
    """How a process is set up before anything is timed in it."""

    threads: int
    retained: bool

    def __str__(self) -> str:
        return f"{self.threads} thread{'s' * (self.threads > 1)}{', retained' * self.retained}"

    def enter(self) -> Clock:
        """Set this process up and return its clock: CPU time of the calling thread, or wall clock for several."""
        torch.set_num_threads(self.threads)
        if self.retained:
            retain_memory()
        return time.thread_time if self.threads == 1 else time.perf_counter


@dataclass(frozen=True)
class Row:
    """The time of one variant of one measure."""

    suite: str
    case: str
    measure: str
    setting: str
    variant: str
    median_ms: float
    min_ms: float
    max_ms: float


def in_fresh_process(function: Callable[..., Result], *arguments) -> Result:
    """`function(*arguments)` in a newly started interpreter; says so on stderr, with the minutes since the start.

    Raises:
        UserError: that process died.
    """
    work = f"{function.__module__.rpartition('.')[2]}.{function.__name__}{arguments}"
    print(f"{(time.monotonic() - _START) / 60:5.1f} min  {work}", file=sys.stderr)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise UserError(f"a measuring process died (out of memory?): {work}") from error


def side_by_side(function: Callable[..., Result], arguments: Iterable[tuple]) -> list[Result]:
    """`function` with each of the tuples in a fresh process, two at a time: for what is not timed."""
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda given: in_fresh_process(function, *given), arguments))


def interleaved(
    suite: str, case: str, setting: Setting, clock: Clock, variants: dict[str, Variant], repeats: int, warmups: int = 2
) -> list[Row]:
    """Rows of `variants`, each run once per round, so that a change of the machine's load meets all of them.

    The first `warmups` rounds do not count.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    for round_number in range(-warmups, repeats):
        for name, variant in variants.items():
            for measure, duration in variant(clock).items():
                if round_number >= 0:
                    seconds.setdefault((measure, name), []).append(1e3 * duration)
    return [
        Row(suite, case, measure, str(setting), name, statistics.median(times), min(times), max(times))
        for (measure, name), times in seconds.items()
    ]


def timed(measure: str, work: Callable[[], object]) -> Variant:
    """The variant that does `work` as a single measure."""

    def variant(clock: Clock) -> dict[str, float]:
        start = clock()
        work()
        return {measure: clock() - start}

    return variant


def peak_memory(work: Callable[[], object]) -> int | None:
    """Bytes by which the resident memory of this process grows at most during `work`, None where Linux does not say.

    `work` is done once before, so that code which is loaded, compiled or cached on first use does not count.
    """
    resettable = Path("/proc/self/clear_refs")
    if not resettable.exists():
        return None
    work()
    gc.collect()
    output_pool().idle.clear()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    resettable.write_text("5")  # sets VmHWM back to VmRSS, see proc(5)
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def return_freed_memory() -> None:
    """Make glibc give freed tensors back at once in this process, so that its memory is what is alive in it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 18)


def _status(field: str) -> int:
    """Bytes of a memory field of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) << 10


def copy_bandwidth(threads: int, megabytes: int) -> float:
    """Bytes read and written per second by copying a tensor of so many megabytes into another one; best of nine."""
    torch.set_num_threads(threads)
    source = torch.ones(megabytes << 18)
    target = torch.zeros_like(source)
    durations = []
    for _ in range(9):
        start = time.perf_counter()
        target.copy_(source)
        durations.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(durations)


def installed(package: str) -> bool:
    """Whether `package` can be imported."""
    return importlib.util.find_spec(package) is not None


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    versions = {package: metadata.version(package) for package in ("torch", "numpy", *filter(installed, PEERS))}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": f"{os.cpu_count()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory": f"{memory:.0f} GiB",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **versions,
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "command": " ".join(["python tools/benchmark.py", *sys.argv[1:]]),
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
