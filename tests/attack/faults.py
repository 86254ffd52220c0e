"""Disks that are full, folders that cannot be written or vanish, files cut short, and two programs in one folder."""

import resource
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from common.conversion import cache
from common.conversion.prepare import prepare
from common.datasets.card import cards
from common.datasets.n_caltech101 import NCaltech101
from common.errors import UserError
from common.events.hdf5 import write_hdf5
from common.events.matlab import write_matlab
from common.events.text import write_text
from common.training import start
from tests.attack.files import events, training_state
from tests.attack.kills import CONVERT
from tests.attack.report import Report, outcome_of, try_all
from tests.common.training.runs import TOY
from tests.programs import Program

T = 2
Fault = Callable[[int, Path], Report]


def faults() -> dict[str, Fault]:
    """{name: attack}."""
    return {
        "disk full: every writer, at any byte": _full_writers,
        "disk full: conversion": _full_conversions,
        "disk full: training": _full_trainings,
        "folders that cannot be written": _unwritable,
        "folders that vanish": _vanishing,
        "caches cut short": _cut_caches,
        "two conversions into one folder": _two_conversions,
        "two trainings into one folder": _two_trainings,
    }


def _save_checkpoint(path: Path) -> None:
    training_state().save(path, start("cpu"), {})


WRITERS = {
    "a.pt": _save_checkpoint,
    "events.npz": lambda path: cache.save_events(path, events(500)),
    "frames.npz": lambda path: cache.save_frames(path, np.random.default_rng(0).integers(0, 200, (4, 2, 32, 32))),
    "a.hdf5": lambda path: write_hdf5(path, events(3000), 1),
    "a.mat": lambda path: write_matlab(path, events(3000)),
    "a.txt": lambda path: write_text(path, events(500)),
}


def _limited(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _full_writers(trials: int, folder: Path) -> Report:
    """What was there stays, no half file is left, and the one line says what is full."""
    sizes = {}
    for name, write in WRITERS.items():
        write(folder / name)
        sizes[name] = (folder / name).stat().st_size
    good = {name: (folder / name).read_bytes() for name in WRITERS}

    def trial(number: int) -> str:
        name = list(WRITERS)[number % len(WRITERS)]
        _limited(sizes[name] * (number // len(WRITERS)) * len(WRITERS) // max(trials, 1))
        try:
            ended = outcome_of(lambda: WRITERS[name](folder / name) or "written")
        finally:
            _limited(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        left = {path.name for path in folder.iterdir()}
        if left != set(WRITERS):
            return f"!left behind: {sorted(left - set(WRITERS))}"
        if ended != "written" and (folder / name).read_bytes() != good[name]:
            return f"!wrong result: {name} is not what it was"
        return ended

    return try_all("disk full: every writer, at any byte", trial, trials)


def _source(folder: Path) -> Path:
    return cards()["ncaltech101"].write_tiny(folder / "source", classes=2, per_class=3)


def _full_conversions(trials: int, folder: Path) -> Report:
    source = _source(folder)

    def trial(number: int) -> str:
        output = folder / "output"
        _limited(200 + 400 * number)
        try:
            ended = outcome_of(lambda: prepare(NCaltech101, source, output, T, workers=1) and "converted")
        finally:
            _limited(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        again = outcome_of(lambda: prepare(NCaltech101, source, output, T, workers=1) and "converted")
        shutil.rmtree(output, ignore_errors=True)
        return ended if again == "converted" else f"!not continued: {again}"

    return try_all("disk full: conversion", trial, trials)


def _ended(program: Program) -> str:
    """How a program ended: well, or in one line and with status 2."""
    result = program.wait()
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    if "Traceback (most" in result.stderr:
        return f"!traceback: {result.stderr.strip()[-300:]}"
    if result.returncode == 0:
        return "finished"
    return (
        "refused"
        if (result.returncode, len(lines)) == (2, 1)
        else f"!status: {result.returncode} {result.stderr[-200:]}"
    )


LIMITED = """
import resource, runpy, sys
size, *sys.argv = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _full_trainings(trials: int, folder: Path) -> Report:
    report = Report("disk full: training")
    (folder / "limited.py").write_text(LIMITED)
    for trial in range(trials):
        output = folder / f"run{trial}"
        program = Program(folder / "limited.py", 1000 * 3**trial, TOY, "--output-dir", output, "--epochs", 2)
        report.add(_ended(program), f"limit {1000 * 3**trial}")
        report.add(_ended(Program(TOY, "--output-dir", output, "--epochs", 2)), "afterwards")
    return report


def _unwritable(trials: int, folder: Path) -> Report:
    """A folder's place is taken by a file, which stops even those who may write everywhere."""
    source = _source(folder)
    (folder / "file").touch()

    def trial(number: int) -> str:
        place = folder / "file" / "deeper" if number % 2 else folder / "file"
        jobs = [partial(prepare, NCaltech101, source, place, T, workers=1)]
        jobs += [partial(write, place / name) for name, write in WRITERS.items()]
        return outcome_of(lambda: (jobs[number % len(jobs)]() and "") or "!written: into a file")

    return try_all("folders that cannot be written", trial, trials)


def _vanishing(trials: int, folder: Path) -> Report:
    """The output folder is removed between two files, the source before it is read."""
    source = _source(folder)

    def trial(number: int) -> str:
        output, copy = folder / "output", folder / "copy"
        shutil.copytree(source, copy, dirs_exist_ok=True)
        save, calls = cache.save_events, []

        def vanish(path: Path, recording: np.ndarray) -> None:
            calls.append(path)
            if len(calls) == 1 + number % 6:
                shutil.rmtree(output if number % 2 else copy, ignore_errors=True)
            save(path, recording)

        cache.save_events = vanish
        try:
            ended = outcome_of(lambda: prepare(NCaltech101, copy, output, T, workers=1) and "converted")
        finally:
            cache.save_events = save
            shutil.rmtree(output, ignore_errors=True)
        return ended

    return try_all("folders that vanish", trial, trials)


def _cut_caches(trials: int, folder: Path) -> Report:
    """A file of a converted set is cut: its loader names it, and after it is deleted the same command mends the set."""
    source, output = _source(folder), folder / "output"
    prepare(NCaltech101, source, output, T, workers=1)
    files = sorted(output.rglob("*.npz"))
    good = {path: path.read_bytes() for path in files}

    def trial(number: int) -> str:
        path = files[number % len(files)]
        path.write_bytes(good[path][: len(good[path]) * (number % 10) // 10])
        try:
            cache.load_events(path) if cache.EVENTS in path.parts else cache.load_frames(path)
            return f"!read: {path}"
        except UserError as error:
            if path.name not in str(error):
                return f"!message: {error}"
        path.unlink()
        prepare(NCaltech101, source, output, T, workers=1)
        return "named and mended" if path.read_bytes() == good[path] else "!wrong result: other bytes"

    return try_all("caches cut short", trial, trials)


def _two_conversions(trials: int, folder: Path) -> Report:
    report, source = Report("two conversions into one folder"), _source(folder)
    words = ("prepare", "ncaltech101", "--source", source, "-T", T, "--workers", 1, "--output")
    for trial in range(trials):
        output = folder / f"output{trial}"
        ends = [_ended(program) for program in [Program(CONVERT, *words, output) for _ in range(2)]]
        ends = ends if "finished" in ends else [*ends, "!nobody: neither conversion finished"]
        for end in (*ends, _ended(Program(CONVERT, *words, output))):
            report.add(end, output.name)
    return report


def _two_trainings(trials: int, folder: Path) -> Report:
    report = Report("two trainings into one folder")
    for trial in range(trials):
        output = folder / f"output{trial}"
        pair = [Program(TOY, "--output-dir", output, "--epochs", 30) for _ in range(2)]
        ends = sorted(_ended(program) for program in pair)
        fine = ends in (["finished", "refused"], ["finished", "finished"])  # one may come when the other has gone
        report.add(ends[1] if fine else f"!both: {ends}", output.name)
    return report
