"""What the integer neurons of a DVS network emit on the test set, as a table."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.errors import UserError
from common.files import atomic_path
from common.neurons import IntegerLIF
from common.training import Process, begin, sum_over_ranks
from sdt_v3.data.events import datasets
from sdt_v3.flags import parse_events
from sdt_v3.train_events import build_model, loader_of


@contextmanager
def watch_integers(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Within the block, count for each integer neuron, by its name, how often it emits 0, 1, ... D: int64 `[D + 1]`."""
    neurons = {name: module for name, module in model.named_modules() if isinstance(module, IntegerLIF)}
    counts = {name: torch.zeros(neuron.constants.max_value + 1, dtype=torch.int64) for name, neuron in neurons.items()}

    def count(name: str, neuron: IntegerLIF, inputs: tuple[Tensor], output: Tensor) -> None:
        integers = (output * neuron.constants.norm).round().long().flatten()
        counts[name] += torch.bincount(integers, minlength=len(counts[name])).cpu()

    handles = [neuron.register_forward_hook(partial(count, name)) for name, neuron in neurons.items()]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def count_integers(model: nn.Module, loader: DataLoader, process: Process) -> dict[str, Tensor]:
    """`watch_integers` over all batches (frames, labels) of all processes, in evaluation mode."""
    model.eval()
    with watch_integers(model) as counts:
        for frames, _ in loader:
            model(frames.to(process.device))
    return {name: torch.tensor(sum_over_ranks(each.tolist(), process)) for name, each in counts.items()}


def rows(counts: dict[str, Tensor]) -> list[dict[str, object]]:
    """A row per neuron: the mean integer, which is its spikes per element and time step of D virtual ones, the
    normalised rate mean / D, and the share of each integer.
    """
    table = []
    for name, each in counts.items():
        share = each / each.sum()
        mean = float(share @ torch.arange(len(each), dtype=share.dtype))
        shares = {f"share_{n}": float(value) for n, value in enumerate(share)}
        table.append({"neuron": name, "mean_integer": mean, "normalised_rate": mean / (len(each) - 1)} | shares)
    return table


def write_table(table: list[dict[str, object]], path: Path) -> None:
    """Write `rows` as comma-separated values."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


def main() -> None:
    """Run the script: read weights, count over the test set, write the table."""
    args = parse_events()
    if not args.weights:
        raise UserError("firing rates need trained weights: add --weights FILE")
    args.eval = True
    process = begin(args)
    _, test_set = datasets(args, process)
    model = build_model(args, process)
    table = rows(count_integers(model, loader_of(args, process)(test_set, train=False), process))
    if process.is_main:
        path = args.output_dir / f"{args.model}_int_firing_rate.csv"
        write_table(table, path)
        mean = sum(row["normalised_rate"] for row in table) / len(table)
        print(
            f"{len(table)} neurons over {len(test_set)} recordings: mean normalised firing rate {mean:.4f}; see {path}"
        )
