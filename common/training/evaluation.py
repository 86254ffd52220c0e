"""Evaluation of a classifier over all processes, each sample counted once."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.errors import UserError
from common.training.launch import Process, sum_over_ranks


def as_is(output: Tensor) -> Tensor:
    """The output itself: logits `[B, K]`."""
    return output


def mean_over_time(output: Tensor) -> Tensor:
    """Mean over the leading time axis: `[T, B, K]` -> `[B, K]`."""
    return output.mean(dim=0)


def count_correct(logits: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """Number of samples whose label is among the `k` largest of `logits` `[B, K]`; of equal ones the first is 1st."""
    if k == 1:
        return (logits.argmax(dim=1) == labels).sum()
    return (logits.topk(k, dim=1).indices == labels[:, None]).sum()


@torch.no_grad()
def evaluate_classification(
    model: nn.Module,
    loader: DataLoader,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    process: Process,
    reduce_output: Callable[[Tensor], Tensor] = as_is,
    on_batch: Callable[[Tensor, Tensor, Tensor], None] | None = None,
) -> dict[str, float]:
    """Mean loss, top-1 and (from 5 classes on) top-5 accuracy in percent, and the number of samples.

    `loader` yields (inputs, labels `[B]`); `reduce_output` turns the model's output into logits `[B, K]`. After each
    batch `on_batch` is given inputs, logits and labels.
    `model` is left in eval mode. Sums are taken in float64 over all processes.

    Raises:
        UserError: the test set is empty.
    """
    model.eval()
    loss_sum = top1 = top5 = samples = samples_top5 = torch.zeros((), dtype=torch.float64, device=process.device)
    for inputs, labels in loader:
        inputs, labels = (x.to(process.device, non_blocking=True) for x in (inputs, labels))
        output = model(inputs)
        logits = reduce_output(output)
        loss_sum = loss_sum + loss_fn(output, labels).double() * len(labels)
        top1 = top1 + count_correct(logits, labels)
        samples = samples + len(labels)
        if logits.shape[1] >= 5:
            top5 = top5 + count_correct(logits, labels, k=5)
            samples_top5 = samples_top5 + len(labels)
        if on_batch is not None:
            on_batch(inputs, logits, labels)
    local = torch.stack([loss_sum, top1, top5, samples, samples_top5]).tolist()
    loss_sum, top1, top5, samples, samples_top5 = sum_over_ranks(local, process)
    if not samples:
        raise UserError("there is nothing to evaluate: the test set is empty; check --data-path")
    metrics = {"loss": loss_sum / samples, "acc1": 100 * top1 / samples}
    if samples_top5:
        metrics["acc5"] = 100 * top5 / samples_top5
    return metrics | {"samples": int(samples)}
