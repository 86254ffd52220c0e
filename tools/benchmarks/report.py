"""Showing a run: Markdown tables (which are printed too), a chart, JSON."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from common.analysis.figures import new_figure
from common.files import atomic_path
from tools.benchmarks.lif import SIMILAR
from tools.benchmarks.measure import PEERS, Row, installed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEAD = """\
# Performance

Made by `tools/benchmark.py`; do not edit. The CUDA kernels are compiled and emulated only: no GPU has run them, and
none is measured here.

A cell is the median (minimum to maximum) in milliseconds and how many times as long as ours that is. One thread: CPU
time of the calling thread; two threads: wall clock. Variants take turns in one process, and every setting has a process
of its own. "retained" is after `common.kernels.retain_memory()`, for everybody.
"""
HOW = {
    "lif": """\
Shapes are [4, 16, 128, 32, 32], for T=16 and MA-SNN [16, 4, 128, 32, 32]; float32 unless named. "bound" is the least
traffic (forward 2, both passes 5 tensors of the input's size) over the measured copy bandwidth; where tensors fit a
cache it can be beaten. torch.compile compiles in the first call, which does not count.
Peak memory is what is alive at once, after one warm-up.""",
    "conv": """\
Images of spikes: so many of their pixels are 1. Ours includes finding the spikes and packing the weights in
the forward pass, and finds the weight gradient from the bits that are kept. The input gradient has no zeros to skip;
ours is Winograd's where that pays. How it works, and when it does not help: [spike_driven.md](spike_driven.md).""",
    "network": """\
Batch 4 unless named; a training step is forward, backward and SGD. The networks were trained before, on digits of the
tiny data: at most 8 epochs of 100 pictures or recordings, until 95 % of them were right; how they fire is in the last
table, where "density" is the part of the inputs that is not 0, of all products in layers that skip zeros, and of the
layers with the least and the most. "PyTorch loop" has the same weights and the plain neurons, the stem of an image
computed at every step and batch norms unfolded; "unfolded" also calls convolutions once per step, as the authors of
MS-ResNet do (those of SMA-VGG8 fold time as we do). spikingjelly's neurons stand where SMA-VGG8 and Spikingformer were
published with them. Before anything is timed, all variants have to give the same logits in float64. What a compiled
neuron leaves over is convolution, 80 to 95 % of a step: "ours" skips the zeros of spikes in the forward pass and the
weight gradient where that pays, "ours, dense" does not; the large kernels of SMA see no spikes and work in the Fourier
domain. Peak memory is what a training step allocates beside weights, input and optimizer. Batch norms take 2 to 4 % of
a training step and nothing once folded: no kernel fuses them with neurons.""",
    "training": """\
The network and the batch of `make demo`, and the epoch of the loop around it: counting, the progress bar, looking for
signals and for losses that are not finite. Memory: forward and backward of networks of published size, beside weights,
gradients and input, without and with `--grad-checkpointing`; see [scale.md](scale.md).""",
    "events": """\
300,000 events on 128 x 128 pixels, 16 frames, files in the page cache. Results have to be equal before anything is
timed. The conversion writes the same two files for everybody; spikingjelly by itself writes larger ones. "ours, NumPy"
is what runs where nothing was compiled.""",
}
"""What a reader has to know about each suite."""
MEMORY = {
    "lif": "peak memory of forward + backward beside x and its gradient, in inputs",
    "network": "peak memory of a training step, float32, one thread, in MiB",
    "training": "peak memory of forward and backward, float32, in MiB",
}
DENSITIES = {"network": "how often the trained networks fire"}
DRAWN = "density 0.1"
"""The cases of suite `conv` in the chart."""
COLOURS = {
    "ours": "C0", "ours, dense": "C1", "dense": "C1", "ours, channels_last": "C2", "dense, channels_last": "C2",
    "PyTorch loop": "C3", "PyTorch loop, unfolded": "C4", "spikingjelly": "C5", "spikingjelly's neurons": "C5",
    "spikingjelly, compiled": "C6", "dense, compiled": "C6", "snntorch": "C7", "norse": "C8", "ours, NumPy": "C9",
    "ours, every 10": "C1", "bare loop": "C3",
}  # fmt: skip
"""One colour per method in all panels."""


def markdown(report: dict, chart: str | None = None) -> str:
    """The whole run as a Markdown document; `chart` is the link to its picture."""
    lines = [HEAD]
    lines += ["This is a rehearsal with tiny sizes: the numbers mean nothing.\n"] if report["rehearsal"] else []
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in report["machine"].items()), ""]
    lines += [f"- {package}: not installed, not measured" for package in report["absent"]]
    lines += [f"- {package}: {how}" for package, how in SIMILAR.items() if package not in report["absent"]]
    if chart:
        lines += ["", f"![Time of every variant over ours]({chart})"]
    for suite, part in report["suites"].items():
        lines += ["", f"## {suite}", "", HOW[suite]]
        for measure in dict.fromkeys(row.measure for row in part["rows"]):
            rows = [row for row in part["rows"] if row.measure == measure]
            lines += ["", f"### {suite}: {measure}", "", *time_table(rows)]
        for kind, titles in (("memory", MEMORY), ("densities", DENSITIES)):
            if part.get(kind):
                lines += ["", f"### {suite}: {titles[suite]}", "", *fact_table(part[kind])]
        if "bandwidth" in part:
            speeds = (f"{speed / 1e9:.1f} GB/s with {threads}" for threads, speed in part["bandwidth"].items())
            lines += ["", f"Copy bandwidth, bytes read and written: {', '.join(speeds)} thread(s)."]
    return "\n".join(lines) + "\n"


def time_table(rows: Iterable[Row]) -> list[str]:
    """One line per case and setting, one column per variant, both in order of appearance."""
    rows = list(rows)
    cells = {(row.case, row.setting, row.variant): row for row in rows}
    columns = list(dict.fromkeys(row.variant for row in rows))
    lines = [f"| | | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for case, setting in sorted(dict.fromkeys((row.case, row.setting) for row in rows), key=_order(rows)):
        ours = cells[case, setting, "ours"]
        shown = (_cell(cells.get((case, setting, column)), ours) for column in columns)
        lines.append(f"| {case} | {setting} | {' | '.join(shown)} |")
    return lines


def _order(rows: list[Row]):
    """Sort key that keeps the settings of a case together."""
    cases, settings = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("case", "setting"))
    return lambda pair: (cases.index(pair[0]), settings.index(pair[1]))


def _cell(row: Row | None, ours: Row) -> str:
    if row is None:
        return ""
    if row.variant == "bound":
        return f"{row.median_ms:.2f} {row.median_ms / ours.median_ms:.2f}x"
    spread = f"{row.median_ms:.2f} ({row.min_ms:.2f} to {row.max_ms:.2f})"
    return spread if row is ours else f"{spread} {row.median_ms / ours.median_ms:.1f}x"


def fact_table(facts: list[dict]) -> list[str]:
    """One line per case, one column per variant."""
    columns = list(dict.fromkeys(fact["variant"] for fact in facts))
    cells = {(fact["case"], fact["variant"]): fact["size"] for fact in facts}
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for case in dict.fromkeys(fact["case"] for fact in facts):
        found = (cells.get((case, column)) for column in columns)
        lines.append(f"| {case} | {' | '.join('' if size is None else f'{size:.2f}' for size in found)} |")
    return lines


def draw(report: dict, path: Path) -> None:
    """A PNG with one panel per suite: every variant's time over ours, in the first setting of the suite."""
    panels = {}
    for suite, part in report["suites"].items():
        first = part["rows"][0].setting
        rows = [row for row in part["rows"] if row.setting == first and row.variant != "bound"]
        panels[suite] = [row for row in rows if suite != "conv" or row.case.endswith(DRAWN)] or rows
    heights = [len({(row.case, row.measure) for row in rows}) + 2 for rows in panels.values()]
    figure = new_figure(11, 0.32 * sum(heights) + 1, layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for axis, (suite, rows) in zip(axes, panels.items(), strict=True):
        axis.set_title(f"{suite}, {rows[0].setting}: time over ours (median, minimum to maximum)", fontsize=9)
        draw_suite(axis, rows)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def draw_suite(axis: "Axes", rows: list[Row]) -> None:
    """One line per case and measure, one colour per variant."""
    ours = {(row.case, row.measure): row.median_ms for row in rows if row.variant == "ours"}
    places = {key: place for place, key in enumerate(ours)}
    for variant in dict.fromkeys(row.variant for row in rows):
        own = [(row, ours[row.case, row.measure]) for row in rows if row.variant == variant]
        heights = [places[row.case, row.measure] for row, _ in own]
        colour = COLOURS[variant]
        axis.plot([row.median_ms / unit for row, unit in own], heights, "o", label=variant, color=colour)
        spans = ([row.min_ms / unit for row, unit in own], [row.max_ms / unit for row, unit in own])
        axis.hlines(heights, *spans, colors=colour, alpha=0.5)
    axis.set_yticks(range(len(ours)), [f"{case}: {measure}" for case, measure in ours], fontsize=8)
    axis.invert_yaxis()
    axis.set_xscale("log")
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="x", which="both", alpha=0.3)
    axis.legend(fontsize=7)


def write_json(report: dict, path: Path) -> None:
    """The run as JSON, every row a dictionary."""
    suites = {name: {**part, "rows": [asdict(row) for row in part["rows"]]} for name, part in report["suites"].items()}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({**report, "suites": suites}, indent=1) + "\n")


def absent() -> list[str]:
    """Peers that are not installed."""
    return [package for package in PEERS if not installed(package)]
