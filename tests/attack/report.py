"""What an attack found, and the trials of those that only read files."""

import multiprocessing
import resource
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from common.errors import UserError

PATIENCE = 20
"""Seconds, after which one trial hangs."""
MEMORY = 24 << 30
"""Bytes of addresses that a trial may use."""
LONGEST = 3000
"""Characters of an error message that a person still reads."""


@dataclass
class Report:
    """How the trials of an attack ended."""

    name: str
    trials: int = 0
    kills: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def add(self, outcome: str, where: str) -> None:
        """Count a trial; an outcome with a leading "!" is a finding."""
        self.trials += 1
        self.outcomes[outcome.partition(":")[0].lstrip("!")] += 1
        if outcome.startswith("!"):
            self.findings.append(f"{self.name}: {where}: {outcome[1:]}")


def outcome_of(action: Callable[[], str]) -> str:
    """What `action` returns, or what its exception means: a UserError that names something is as it should be."""
    try:
        return action()
    except UserError as error:
        return "refused" if 10 < len(str(error)) < LONGEST else f"!message: {str(error)[:300]!r}"
    except Exception as error:  # every other one is what an attack looks for
        return f"!traceback: {type(error).__name__}: {' '.join(str(error).split())[:300]}"


def try_all(name: str, trial: Callable[[int], str], trials: int) -> Report:
    """Run `trial` for 0, 1, ... in processes of their own, so that neither a crash nor a hang ends the attack."""
    report, done = Report(name), 0
    context = multiprocessing.get_context("fork")
    while done < trials:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(theirs, trial, range(done, trials)))
        child.start()
        theirs.close()
        while done < trials:
            try:
                outcome = ours.recv() if ours.poll(PATIENCE) else "!hang: over 20 seconds"
            except EOFError:
                child.join()
                outcome = f"!crash: exit status {child.exitcode}"
            report.add(outcome, f"trial {done}")
            done += 1
            if outcome.startswith(("!hang", "!crash")):
                break
        child.kill()
        child.join()
        ours.close()
    return report


def _child(pipe, trial: Callable[[int], str], numbers: range) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in numbers:
        pipe.send(outcome_of(lambda number=number: trial(number)))
