"""Runs every entry script on its tiny data, as a user would call it, and prints a table of times and test accuracies.

python ci/smoke.py            all of them, as many side by side as there are cores
python ci/smoke.py sma gac    the chains that hold one of these words
python ci/smoke.py --jobs 1   one after the other

Each paper states its chains in its smoke.toml. The commands of a chain run in one fresh folder, each with what the
ones before it left there; a word with * is replaced by the newest file that it matches, LAUNCH starts two processes.
The exit status is the number of commands that failed or did not learn.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = "-m torch.distributed.launch --standalone --nproc_per_node 2"

Chain = list[tuple[str, float | None]]
"""Commands, and the test accuracy in percent that each must reach, or None where it only has to run."""


def chains(root: Path = ROOT) -> list[Chain]:
    """Those of `<paper>/smoke.toml`: the first of every paper, which are its longest, then the second ones."""
    papers = (tomllib.loads(path.read_text())["chains"] for path in sorted(root.glob("*/smoke.toml")))
    return [[_step(*step) for step in chain] for rank in zip_longest(*papers) for chain in rank if chain]


def _step(command: str, minimum: float | None = None) -> tuple[str, float | None]:
    return command.replace("LAUNCH", LAUNCH), minimum


ACCURACY = re.compile(r"(?:best (?:acc1 |acc: )?|accuracy |acc=|top-1 |'top1': )([\d.]+)")


class Outcome(NamedTuple):
    """What became of a command; `problem` is empty if nothing is wrong."""

    command: str
    seconds: float
    accuracy: str
    problem: str

    def __str__(self):
        state = "FAILED" if self.problem else "ok"
        return f"{state:6}  {self.seconds:5.0f} s  {self.accuracy:>6}  {self.command}  {self.problem}"


def run_chain(chain: Chain, threads: int) -> Iterator[Outcome]:
    """Run the commands of a chain in a fresh folder; the first failure is the last command."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryDirectory() as folder:
        for command, minimum in chain:
            outcome = run(command, minimum, Path(folder), environment)
            yield outcome
            if outcome.problem:
                return


def run(command: str, minimum: float | None, folder: Path, environment: dict[str, str]) -> Outcome:
    """Run one command in `folder`."""
    begin = time.monotonic()
    arguments = [expanded(word, folder) for word in command.split()]
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    accuracy = (ACCURACY.findall(result.stdout) or ["-"])[-1]
    problem = ""
    if result.returncode:
        problem = (result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1]
    elif minimum is not None and (accuracy == "-" or float(accuracy) < minimum):
        problem = f"expected a test accuracy of {minimum} %"
    return Outcome(command, time.monotonic() - begin, accuracy, problem)


def expanded(word: str, folder: Path) -> str:
    """A script as its full path, a pattern as the newest file below `folder` that it matches."""
    if "*" in word:
        return str(max(folder.glob(word), key=lambda path: path.stat().st_mtime, default=word))
    return str(ROOT / word) if word.endswith(".py") else word


def main() -> int:
    """Run the chosen chains and return the number of failures."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="run the chains that hold one of these words")
    parser.add_argument("--jobs", type=int, default=cores, help="chains side by side (default: %(default)s)")
    options = parser.parse_args()
    words = options.words or [""]
    chosen = [chain for chain in chains() if any(word in command for command, _ in chain for word in words)]
    threads = max(1, cores // options.jobs)

    def report(chain: Chain) -> list[Outcome]:
        outcomes = []
        for outcome in run_chain(chain, threads):
            print(outcome, flush=True)
            outcomes.append(outcome)
        return outcomes

    begin = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = [outcome for chain in pool.map(report, chosen) for outcome in chain]
    failures = sum(bool(outcome.problem) for outcome in outcomes)
    print(f"{len(outcomes)} commands, {failures} failed, {(time.monotonic() - begin) / 60:.1f} minutes")
    return failures


if __name__ == "__main__":
    sys.exit(main())
