"""Times this repository against everybody else who is installed: spikingjelly, snntorch, norse, plain PyTorch loops.

    python tools/benchmark.py lif --json lif.json
    python tools/benchmark.py --json run.json --chart docs/performance.png --markdown docs/performance.md

Suites: `lif` (one neuron), `conv` (one convolution), `network` (whole networks), `events` (recordings to frames),
`training` (the loop, gradient checkpointing); all by default. All variants do the same work in the same precision and
take turns in one process; every setting has a process of its own. Run it on an idle machine.
"""

import argparse
import os
from pathlib import Path

from common.files import atomic_path
from common.training import run
from tools.benchmarks import conv, events, lif, network, report, training
from tools.benchmarks.measure import machine

SUITES = {"lif": lif.run, "conv": conv.run, "network": network.run, "events": events.run, "training": training.run}


def main(arguments: list[str] | None = None) -> None:
    """Measure as the command line says."""
    options = parse(arguments)
    measured = {
        "machine": machine(),
        "absent": report.absent(),
        "rehearsal": options.quick,
        "suites": {name: SUITES[name](options.quick) for name in options.suites or SUITES},
    }
    write(measured, options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(SUITES)}; default: all")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--chart", type=Path, help="PNG file for a chart")
    parser.add_argument("--markdown", type=Path, help="file for the tables that are printed")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one setting, nothing compiled: a rehearsal")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.suites if name not in SUITES]
    if unknown:
        parser.error(f"unknown suite {unknown[0]!r}; choose from {', '.join(SUITES)}")
    return options


def write(measured: dict, options: argparse.Namespace) -> None:
    """Print the tables and write the files that were asked for."""
    print(report.markdown(measured))
    if options.json:
        report.write_json(measured, options.json)
    if options.chart:
        report.draw(measured, options.chart)
    if options.markdown:
        link = os.path.relpath(options.chart, options.markdown.parent) if options.chart else None
        with atomic_path(options.markdown) as temporary:
            temporary.write_text(report.markdown(measured, link))


if __name__ == "__main__":
    run(main)
