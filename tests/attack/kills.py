"""Processes that are ended at any moment: what is left is whole, and the same command goes on to the same result."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from common.conversion import stages
from common.datasets.card import cards
from tests.attack.report import Report
from tests.common.training.runs import TOY, outcome
from tests.programs import PATIENCE, Program, free_port

ROOT = Path(__file__).parents[2]
CONVERT = ROOT / "tools" / "convert_dataset.py"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SWITCHES = ("--random", "--ema", "--epochs", 4)
ROUND = 4
"""Kills in a row, before the run is let to its end and compared."""
EXPECTED = {0, 2, *(128 + number for number in SIGNALS), *(-number for number in SIGNALS)}
"""Exit statuses of a process that was let or told to end; 2 where one of two lost the other."""


def killers() -> dict[str, Callable[[int, Path], Report]]:
    """{name: attack}."""
    return {
        "training, 1 process": lambda kills, folder: _trainings("training, 1 process", kills, folder, 1),
        "training, 2 processes": lambda kills, folder: _trainings("training, 2 processes", kills, folder, 2),
        "torchrun: launcher or rank killed": _torchrun,
        "conversion": _conversions,
        "import of weights": _imports,
    }


def _told(stderr: str) -> str:
    """A finding if a process ended in a traceback."""
    return f"!traceback: {stderr.strip()[-300:]}" if "Traceback (most recent call last)" in stderr else ""


def _launch(processes: int, *arguments: object) -> list[Program]:
    if processes == 1:
        return [Program(TOY, *arguments)]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [Program(TOY, *arguments, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]


def _trainings(name: str, kills: int, folder: Path, processes: int) -> Report:
    report, generator = Report(name), random.Random(name)
    duration = 0.0
    for name in ("warm", "whole"):
        begin = time.monotonic()
        for program in _launch(processes, "--output-dir", folder / name, *SWITCHES):
            assert program.wait().returncode == 0
        duration = time.monotonic() - begin
    whole = outcome(folder / "whole")
    while report.kills < kills:
        run = folder / f"run{report.kills}"
        for last in (*(False,) * ROUND, True):
            resume = ["--resume"] * (run / "checkpoint.pt").exists()
            programs = _launch(processes, "--output-dir", run, *SWITCHES, *resume)
            number = generator.choice(SIGNALS)
            if not last:
                time.sleep(generator.uniform(0.2, 1) * duration)
                for program in programs if number == signal.SIGKILL else programs[:1]:
                    if program.process.is_alive():
                        os.kill(program.process.pid, number)
                        report.kills += 1
            _end_together(programs)
            for program in programs:
                try:
                    ended = program.wait()
                except subprocess.TimeoutExpired:
                    report.add("!hang", f"kill {report.kills}")
                    continue
                where = f"kill {report.kills} by {number.name}"
                report.add(_told(ended.stderr) or _status(ended.returncode, last), where)
        same = outcome(run) == whole
        report.add("resumed to the same bits" if same else "!wrong result: not that of a whole run", str(run.name))
        shutil.rmtree(run)
    return report


def _end_together(programs: list[Program]) -> None:
    """As a launcher does: when one process has ended, the others get ten seconds and a signal."""
    _wait_for(lambda: any(not program.process.is_alive() for program in programs))
    end = time.monotonic() + 10
    while any(program.process.is_alive() for program in programs) and time.monotonic() < end:
        time.sleep(0.05)
    for program in programs:
        if program.process.is_alive():
            program.process.terminate()


def _status(status: int, undisturbed: bool) -> str:
    if undisturbed and status:
        return f"!status: {status} without a kill"
    return "ended" if status in EXPECTED else f"!status: {status}"


def _torchrun(kills: int, folder: Path) -> Report:
    """A killed launcher takes its ranks along; a killed rank is started again and the run ends as it should."""
    report = Report("torchrun: launcher or rank killed")
    base = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for trial in range(max(1, kills // 2)):
        run = folder / f"launcher{trial}"
        words = [TOY, "--output-dir", run, *SWITCHES[:-1], 4000]
        launcher = subprocess.Popen(
            [*base, *map(str, words)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_for(lambda run=run: (run / "checkpoint.pt").exists())
        ranks = _children(launcher.pid)
        launcher.kill()
        launcher.wait()
        report.kills += 1
        gone = _wait_for(lambda ranks=ranks: not any(map(_alive, ranks)))
        report.add("ranks ended with it" if gone and ranks else "!orphans: ranks go on", run.name)
        run = folder / f"rank{trial}"
        words = [TOY, "--output-dir", run, *SWITCHES[:-1], 40]
        launcher = subprocess.Popen(
            [*base, "--max-restarts", "2", *map(str, words)], env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        _wait_for(lambda run=run: (run / "checkpoint.pt").exists())
        for rank in _children(launcher.pid)[:1]:
            os.kill(rank, signal.SIGKILL)
            report.kills += 1
        _, said = launcher.communicate(timeout=PATIENCE)
        finished = launcher.returncode == 0 and len(outcome(run)["history"]) == 40
        report.add("restarted and finished" if finished else f"!status: {said.strip()[-300:]}", run.name)
    return report


def _wait_for(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 90
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _children(parent: int) -> list[int]:
    names = (Path("/proc") / str(parent) / "task").glob("*/children")
    return [int(word) for name in names for word in name.read_text().split()]


def _alive(process: int) -> bool:
    try:
        return "Z" not in (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def _conversions(kills: int, folder: Path) -> Report:
    name = "conversion"
    report, generator = Report(name), random.Random(name)
    sources = {
        key: cards()[key].write_tiny(folder / key, classes=2, per_class=10) for key in ("ncaltech101", "dvs_gait")
    }
    flags = {"ncaltech101": ("-T", 3), "dvs_gait": ()}

    def start(key: str, output: Path) -> Program:
        words = ("--source", sources[key], "--output", output, "--workers", 2, *flags[key])
        return Program(CONVERT, "prepare", key, *words)

    wholes, durations = {}, {}
    for key in sources:
        start(key, folder / "warm" / key).wait()
        begin = time.monotonic()
        assert start(key, folder / "whole" / key).wait().returncode == 0
        wholes[key], durations[key] = _files(folder / "whole" / key), time.monotonic() - begin
    while report.kills < kills:
        key = generator.choice(list(sources))
        run = folder / f"run{report.kills}"
        for _ in range(ROUND):
            program, number = start(key, run), generator.choice(SIGNALS)
            time.sleep(generator.uniform(0.1, 1) * durations[key])
            if program.process.is_alive():
                os.kill(program.process.pid, number)
                report.kills += 1
            ended = program.wait()
            interrupted = number == signal.SIGINT and "KeyboardInterrupt" in ended.stderr
            bad = "" if interrupted else _told(ended.stderr)
            report.add(bad or "ended", f"kill {report.kills} of {key} by {number.name}")
        ended = start(key, run).wait()
        report.add(_told(ended.stderr) or _status(ended.returncode, True), f"{key} in the end: {ended.stderr[-200:]}")
        same = _files(run) == wholes[key]
        report.add("completed to the same bytes" if same else "!wrong result: other files", f"{key} {run.name}")
        shutil.rmtree(run)
    return report


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _imports(kills: int, folder: Path) -> Report:
    """The new weights are in the store, or none, and never half of them."""
    report, generator = Report("import of weights"), random.Random(1)
    source = (
        "import sys, torch\nfrom pathlib import Path\nfrom tools.weights.files import read_foreign, write_weights\n"
        "given, to = map(Path, sys.argv[1:])\n"
        "facts = dict(source='', source_file='', source_sha256='', source_size=1, imported='')\n"
        "state = read_foreign(given, given.read_bytes(), to)\n"
        "write_weights(to / 'w.safetensors', state, name='w', paper='p', model='m', create={}, **facts)\n"
    )
    (folder / "program.py").write_text(source)
    torch.manual_seed(0)
    save_file({"a": torch.rand(2_000_000)}, folder / "given.safetensors")
    for trial in range(kills):
        store = folder / f"store{trial}"
        store.mkdir()
        program = Program(folder / "program.py", folder / "given.safetensors", store)
        time.sleep(generator.uniform(0, 0.15))
        if program.process.is_alive():
            program.process.kill()
            report.kills += 1
        program.process.join()  # it may not even have opened its output
        program.output.cleanup()
        there = {path.name for path in store.glob("[!.]*")}
        whole = (
            there <= {"w.json"} or (store / "w.safetensors").read_bytes() == (folder / "given.safetensors").read_bytes()
        )
        report.add("all or nothing" if whole else f"!half: {sorted(there)}", store.name)
        stages.remove_leftovers(store)
        shutil.rmtree(store)
    return report
