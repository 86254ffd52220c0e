"""The loss of MA-SNN and its test: every recording is several clips, and these vote. Images, with firing rates."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.analysis.firing_rates import watch_neurons
from common.errors import UserError
from common.training import Process, evaluate_classification, sum_over_ranks

Criterion = Callable[[Tensor, Tensor], Tensor]


def one_hot_loss(criterion: Criterion, outputs: Tensor, labels: Tensor) -> Tensor:
    """`criterion` of the outputs `[B, K]` and the one-hot labels, for labels `[B]`."""
    return criterion(outputs, F.one_hot(labels, outputs.shape[1]).to(outputs.dtype))


@torch.no_grad()
def evaluate_clips(
    model: nn.Module,
    loader: DataLoader,
    criterion: Criterion,
    process: Process,
    on_batch: Callable[[Tensor, Tensor, Tensor], None] | None = None,
) -> dict[str, float]:
    """Loss over all clips, accuracy in percent, and number of recordings; `model` is left in eval mode.

    A recording is right if more than half of its clips are. `loss_legacy` is what the original reports: the loss of a
    batch divided by the number of clips, averaged over the batches.

    Args:
        model: maps frames `[B, T, 2, X, Y]` to outputs `[B, K]`.
        loader: yields (frames `[B, clips, T, 2, X, Y]`, labels `[B]`).
        criterion: see `one_hot_loss`.
        process: this process; sums are taken over all.
        on_batch: given the first clips, the mean outputs of the clips and the labels after each batch.

    Raises:
        UserError: the test set is empty.
    """
    model.eval()
    totals = torch.zeros(5, dtype=torch.float64)
    for frames, labels in loader:
        frames, labels = (x.to(process.device, non_blocking=True) for x in (frames, labels))
        # Clip by clip: a test batch then needs no more memory than a training batch.
        outputs = torch.stack([model(clip) for clip in frames.unbind(1)], dim=1)
        clips = outputs.shape[1]
        loss = one_hot_loss(criterion, outputs.flatten(0, 1), labels.repeat_interleave(clips)).item()
        votes = (outputs.argmax(2) == labels[:, None]).sum(1)
        correct = int((2 * votes > clips).sum())
        if on_batch is not None:
            on_batch(frames[:, 0], outputs.mean(1), labels)
        totals += torch.tensor([loss * len(labels), correct, len(labels), loss / clips, 1], dtype=torch.float64)
    loss, correct, samples, legacy, batches = sum_over_ranks(totals.tolist(), process)
    if not samples:
        raise UserError("there is nothing to evaluate: the test set is empty; check --data-path")
    return {
        "loss": loss / samples,
        "loss_legacy": legacy / batches,
        "acc1": 100 * correct / samples,
        "samples": int(samples),
    }


def evaluate_with_rates(
    model: nn.Module, loader: DataLoader, loss_fn: Criterion, process: Process, **more: object
) -> tuple[dict[str, float], dict[str, float]]:
    """What `evaluate_classification`, given `more`, returns, and the mean output of each neuron over the test set.

    Raises:
        UserError: the test set is empty.
    """
    sums: dict[str, float] = {}
    with watch_neurons(model) as rates:

        def watched() -> Iterator[tuple[Tensor, Tensor]]:
            for inputs, labels in loader:
                yield inputs, labels  # the network has run when the next batch is asked for
                for name, rate in rates.items():
                    sums[name] = sums.get(name, 0.0) + rate * len(labels)

        result = evaluate_classification(model, watched(), loss_fn, process, **more)
    totals = sum_over_ranks(list(sums.values()), process)
    return result, {name: total / result["samples"] for name, total in zip(sums, totals, strict=True)}
