"""From a batch to changed weights; nothing here makes the host wait for the device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from common.training.evaluation import as_is, count_correct
from common.training.launch import Process
from common.training.state import TrainingState


@dataclass(frozen=True)
class Recipe:
    """How a batch becomes a change of the weights.

    | field | meaning |
    |---|---|
    | `loss_fn(output, target)` | mean loss of a batch |
    | `schedule` | the scheduler is stepped after every "epoch" or after every optimizer "step" |
    | `amp` | mixed precision with the 16-bit numbers `half`; evaluation is left to `evaluate` |
    | `loss_mean` | the training loss, which ReduceLROnPlateau sees too, is the mean over "samples" or "batches" |
    | `accumulate` | batches per optimizer step; fewer that remain at the end of an epoch make none, as in SDT V3 |
    | `clip_grad` | largest norm of all gradients together |
    | `transform_batch(inputs, labels, epoch)` | (inputs, target) on the device, such as mixup; epoch = 0, 1, ... |
    | `reduce_output(output)` | logits `[B, K]` for the training accuracy; None: none |
    | `truth(target)` | labels `[B]` that the training accuracy counts; None: those of the loader |
    | `top5` | the training accuracy among the five largest logits too, `train_acc5` |
    | `after_step(batch)` | called in the main process after each batch; they count from 1 through all epochs |
    | `on_step(batch, loss)` | the same with its loss, as soon as that has been looked at: see `common.training.watch` |
    """

    loss_fn: Callable[[Tensor, object], Tensor]
    half: torch.dtype = torch.bfloat16
    schedule: Literal["epoch", "step"] = "epoch"
    amp: bool = False
    loss_mean: Literal["samples", "batches"] = "samples"
    accumulate: int = 1
    clip_grad: float | None = None
    transform_batch: Callable[[Tensor, Tensor, int], tuple[Tensor, object]] | None = None
    reduce_output: Callable[[Tensor], Tensor] | None = as_is
    truth: Callable[[object], Tensor] | None = None
    top5: bool = False
    after_step: Callable[[int], None] | None = None
    on_step: Callable[[int, float], None] | None = None

    def completes_a_step(self, batches: int) -> bool:
        """Whether the weights change after the last of so many `batches` of an epoch."""
        return batches % self.accumulate == 0


def train_on(
    network: nn.Module,
    state: TrainingState,
    recipe: Recipe,
    batch: tuple[Tensor, Tensor],
    batches: int,
    process: Process,
) -> Tensor:
    """Do batch number `state.step` of `batches`; its loss and counts of correct predictions, float64 on the device."""
    completes = recipe.completes_a_step(state.step + 1)
    with nullcontext() if completes or process.world_size == 1 else without_sync(network):
        loss, outcome = _forward(network, state, recipe, batch, process)
        if recipe.completes_a_step(state.step):  # those before did: another one begins
            state.optimizer.zero_grad()
        if state.step < batches - batches % recipe.accumulate:  # the gradients of those that remain serve nothing
            state.scaler.scale(loss / recipe.accumulate).backward()
    if completes:
        _update(state, recipe)
    state.step += 1
    return outcome


@contextmanager
def without_sync(network: nn.Module) -> Iterator[None]:
    """Within a `with` block the gradients of a network of several processes stay those of each."""
    if hasattr(network, "no_sync"):
        with network.no_sync():
            yield
        return
    network.set_requires_gradient_sync(False)  # FSDP2's way to say it
    try:
        yield
    finally:
        network.set_requires_gradient_sync(True)


def _forward(
    network: nn.Module, state: TrainingState, recipe: Recipe, batch: tuple[Tensor, Tensor], process: Process
) -> tuple[Tensor, Tensor]:
    """Loss of a batch, and the same with the number of correct predictions, among the five best too if wanted."""
    inputs, target = inputs, labels = batch
    if recipe.transform_batch is not None:
        inputs, target = recipe.transform_batch(inputs, labels, state.epoch)
    with torch.autocast(process.device.type, recipe.half, enabled=recipe.amp):
        output = network(*inputs) if isinstance(inputs, list | tuple) else network(inputs)
        loss = recipe.loss_fn(output, target)
    outcome = [loss.detach()]
    if recipe.reduce_output is not None:
        with torch.no_grad():
            logits = recipe.reduce_output(output)
            right = labels if recipe.truth is None else recipe.truth(target)
            outcome += [count_correct(logits, right, k) for k in ((1, 5) if recipe.top5 else (1,))]
    return loss, torch.stack([number.double() for number in outcome])


def _update(state: TrainingState, recipe: Recipe) -> None:
    """One step of the optimizer and of all that follows it."""
    if recipe.clip_grad is not None:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.trained.parameters(), recipe.clip_grad)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.follow()
    if state.scheduler is not None and recipe.schedule == "step":
        state.scheduler.step()
