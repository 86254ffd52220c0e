"""What a test of trained weights leaves behind beside its accuracy: files a thesis is written from.

| file             | holds                                                                                        |
|------------------|----------------------------------------------------------------------------------------------|
| metrics.json     | loss, accuracies, calibration error, firing rate, operations and energy of one inference     |
| per_class.csv    | samples, accuracy (recall), precision and F1 of each class                                   |
| confusion.csv    | how many samples of each class (row) were taken for each (column); confusion.png is its map  |
| wrong.csv        | every wrong sample with its file, its class, the class it was taken for, and how surely      |
| firing_rates.csv | mean output of each neuron layer over the test set                                           |
"""

import csv
import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

from common.analysis.energy import EVERYTHING, energy
from common.analysis.figures import confusion_map
from common.analysis.firing_rates import watch_neurons, write_rates
from common.analysis.operations import count_operations
from common.files import atomic_path
from common.training.describe import class_titles
from common.training.launch import Process, sum_over_ranks

BINS = 15
"""Of the confidence, as Guo et al. 2017 (arXiv 1706.04599) have them."""


def evaluate_fully(
    model: nn.Module,
    evaluate: Callable[..., dict[str, float]],
    data: Dataset,
    process: Process,
    folder: Path,
) -> dict[str, float]:
    """What `evaluate(model)` returns, and the calibration error; the files above are written to `folder`.

    Args:
        model: the network, with its weights.
        evaluate: a script's own test; it hands (inputs, logits `[B, K]`, labels `[B]`) of each batch to `on_batch`.
        data: what it tests on, whose sample k is in process k modulo their number.
        process: this process; the main one writes.
        folder: made if absent.

    Raises:
        UserError: the test set is empty, or the folder cannot be written.
    """
    logits, labels, sums, first = [], [], {}, []
    with watch_neurons(model) as rates:

        def note(inputs: Tensor, output: Tensor, targets: Tensor) -> None:
            first.extend([inputs[:1] if model.layout.batch_axis == 0 else inputs[:, :1]] * (not first))
            logits.append(output.detach().float().cpu())
            labels.append(targets.cpu())
            for name, rate in rates.items():
                sums[name] = sums.get(name, 0.0) + rate * len(targets)

        result = evaluate(model, on_batch=note)
    totals = sum_over_ranks(list(sums.values()), process)
    mean_rates = {name: total / result["samples"] for name, total in zip(sums, totals, strict=True)}
    outputs, targets = in_order(torch.cat(logits), torch.cat(labels), process)
    if process.is_main:
        probabilities = outputs.softmax(1).double().numpy()
        result["ece"] = calibration_error(probabilities, targets.numpy())
        cost = energy(count_operations(model, first, model.layout.batch_axis), EVERYTHING)
        spikes = {
            "firing_rate": float(np.mean([*mean_rates.values()])) if mean_rates else 0.0,
            "mac": cost.mac,
            "ac": cost.ac,
            "millijoules": cost.millijoules,
        }
        write_files(folder, result | spikes, probabilities, targets.numpy(), data)
        write_rates(mean_rates, folder / "firing_rates.csv")
        print(
            f"calibration error {100 * result['ece']:.2f} %, firing rate {spikes['firing_rate']:.4g}, "
            f"{cost.mac / 1e6:.4g} M MAC and {cost.ac / 1e6:.4g} M AC per sample; per class, confusion, wrong samples: "
            f"{folder}"
        )
    return result


def in_order(logits: Tensor, labels: Tensor, process: Process) -> tuple[Tensor, Tensor]:
    """The logits and labels of all processes in the order of the data set."""
    if process.world_size == 1:
        return logits, labels
    gathered: list = [None] * process.world_size
    dist.all_gather_object(gathered, (logits, labels))
    count = sum(len(part) for part, _ in gathered)
    outputs, targets = logits.new_empty(count, logits.shape[1]), labels.new_empty(count)
    for rank, (part, own) in enumerate(gathered):
        outputs[rank :: process.world_size], targets[rank :: process.world_size] = part, own
    return outputs, targets


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error, sum_b |B_b| / N |accuracy(B_b) - confidence(B_b)| over `BINS` equal bins.

    `probabilities` `[N, K]` and `labels` `[N]`; Guo et al. 2017, eq. 3.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, right, BINS) - np.bincount(bins, confidence, BINS)
    return float(np.abs(gaps).sum() / len(labels))


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """How many samples of class i were taken for class j, `[classes, classes]`."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def write_files(
    folder: Path, metrics: dict[str, float], probabilities: np.ndarray, labels: np.ndarray, data: Dataset
) -> None:
    """Write all but the firing rates."""
    predicted, outputs = probabilities.argmax(1), probabilities.shape[1]
    names = class_names(data, outputs)
    matrix = confusion_matrix(predicted, labels, outputs)
    with atomic_path(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    write_rows(folder / "confusion.csv", [("class", *names), *((names[i], *row) for i, row in enumerate(matrix))])
    confusion_map(matrix, names, folder / "confusion.png", f"top-1 {metrics['acc1']:.2f} % of {len(labels)} samples")
    write_rows(folder / "per_class.csv", per_class(matrix, names))
    wrong = [
        (sample_name(data, i), names[labels[i]], names[predicted[i]], f"{probabilities[i, predicted[i]]:.4f}")
        for i in np.flatnonzero(predicted != labels)
    ]
    write_rows(folder / "wrong.csv", [("sample", "class", "taken for", "probability"), *wrong])


def per_class(matrix: np.ndarray, names: Sequence[str]) -> list[tuple]:
    """Rows of class, samples, accuracy, precision and F1 in percent; empty where nothing was or was called so."""
    right, samples, called = matrix.diagonal(), matrix.sum(1), matrix.sum(0)

    def percent(part: int, whole: int) -> str:
        return f"{100 * part / whole:.2f}" if whole else ""

    rows = [
        (name, n, percent(r, n), percent(r, c), percent(2 * r, n + c))
        for name, r, n, c in zip(names, right, samples, called, strict=True)
    ]
    return [("class", "samples", "accuracy", "precision", "f1"), *rows]


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write comma-separated values."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def class_names(data: Dataset, outputs: int) -> list[str]:
    """The names of the outputs: those of the data, then numbers."""
    known = class_titles(data)[:outputs]
    return known + [str(label) for label in range(len(known), outputs)]


def sample_name(data: Dataset, index: int) -> str:
    """The file of a sample, or its place in a data set that is one file."""
    if isinstance(data, ConcatDataset):
        part = bisect_right(data.cumulative_sizes, index)
        return sample_name(data.datasets[part], index - [0, *data.cumulative_sizes][part])
    for name in ("samples", "clips"):  # of (file, label)
        if isinstance(listed := getattr(data, name, None), Sequence):
            return str(listed[index][0])
    return str(data.paths[index]) if getattr(data, "paths", None) else f"sample {index}"
