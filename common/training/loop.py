"""The one training loop.

| argument of `fit` | meaning |
|---|---|
| `model` | the bare network; `fit` moves it to the device and wraps it for several processes |
| `train_loader` | from `make_loader`; yields (inputs, labels `[B]`); a tuple of inputs holds the network's arguments |
| `loss_fn(output, target)` | mean loss of a batch |
| `evaluate(model)` | numbers of the test set, the same in every process; called in all of them after each epoch |
| `scheduler`, `schedule` | stepped after every "epoch" or after every optimizer "step" |
| `amp` | float16 with a gradient scaler on CUDA, bfloat16 on the CPU; evaluation is left to `evaluate` |
| `scaler` | the gradient scaler, for those who save it in files of their own; None: one as `amp` needs |
| `loss_mean` | an epoch's training loss, which ReduceLROnPlateau sees too, is the mean over "samples" or "batches" |
| `resume` | a checkpoint, or True for that of `output_dir`; there may be none under `torchrun --max-restarts` |
| `checkpoint_every` | batches after which a checkpoint is written within an epoch too; SIGUSR1 asks for one at once |
| `accumulate` | batches per optimizer step; fewer that remain at the end of an epoch make none, as in SDT V3 |
| `clip_grad` | largest norm of all gradients together |
| `ema` | `AveragedModel` of the bare network, updated after every optimizer step and evaluated too (`test_ema_*`) |
| `transform_batch(inputs, labels, epoch)` | returns (inputs, target) on the device, such as mixup; epoch = 0, 1, ... |
| `reduce_output(output)` | logits `[B, K]` for the training accuracy; None: none |
| `truth(target)` | labels `[B]` that the training accuracy counts; None: those of the loader |
| `top5` | the training accuracy among the five largest logits too, `train_acc5` |
| `sync_bn` | batch statistics over all processes; on the CPU torch has no such layer, which is said and left out |
| `on_step(batch, loss)` | called in the main process after each batch; they count from 1 through all epochs |
| `on_epoch_end(model, history)` | the main process's own result files, before the checkpoint of that epoch |
| `resume` | a checkpoint, or True for the one in `output_dir` |
| `epochs_done` | epochs that the weights have behind them when they come from elsewhere than `resume` |
| `metadata` | plain facts for the checkpoint; all but "args" have to agree when it is resumed |
| `select` | key of `evaluate`'s result that decides `best.pt`, higher is better ("ema_acc1": the average); None: none |

Files in `output_dir`: `checkpoint.pt` after every epoch, `best.pt` (a plain state dict), `log.csv`, `log.jsonl`,
`tensorboard/`. A run that was killed and resumed on the CPU ends bit-equal to one that was not. From three processes
on this needs `find_unused_parameters=True`: otherwise torch regroups the gradients after the first step of every
start, and with them the order in which gloo adds, which moves the last bit.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from common.errors import UserError
from common.files import make_folder
from common.training.checkpoint import save_file
from common.training.evaluation import as_is, count_correct
from common.training.launch import Process, max_over_ranks, one_writer, restarts, sum_over_ranks
from common.training.loaders import EndlessSampler, moved, start_epoch
from common.training.program import grad_scaler
from common.training.record import Recorder, progress_bar
from common.training.state import TrainingState, set_random_state

Row = dict[str, float]
STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class _Recipe:
    """How a batch becomes a change of the weights; the fields are `fit`'s arguments."""

    loss_fn: Callable[[Tensor, object], Tensor]
    schedule: Literal["epoch", "step"]
    amp: bool
    accumulate: int
    clip_grad: float | None
    transform_batch: Callable[[Tensor, Tensor, int], tuple[Tensor, object]] | None
    reduce_output: Callable[[Tensor], Tensor] | None
    truth: Callable[[object], Tensor] | None
    top5: bool
    on_step: Callable[[int, float], None] | None
    loss_mean: Literal["samples", "batches"]
    checkpoint_every: int | None


def fit(
    model: nn.Module,
    train_loader: DataLoader,
    *,
    optimizer: Optimizer,
    loss_fn: Callable[[Tensor, object], Tensor],
    epochs: int,
    evaluate: Callable[[nn.Module], dict[str, float]],
    process: Process,
    output_dir: str | Path,
    scheduler: LRScheduler | None = None,
    schedule: Literal["epoch", "step"] = "epoch",
    amp: bool = False,
    scaler: torch.amp.GradScaler | None = None,
    loss_mean: Literal["samples", "batches"] = "samples",
    accumulate: int = 1,
    clip_grad: float | None = None,
    ema: AveragedModel | None = None,
    transform_batch: Callable[[Tensor, Tensor, int], tuple[Tensor, object]] | None = None,
    reduce_output: Callable[[Tensor], Tensor] | None = as_is,
    truth: Callable[[object], Tensor] | None = None,
    top5: bool = False,
    sync_bn: bool = False,
    find_unused_parameters: bool = False,
    on_step: Callable[[int, float], None] | None = None,
    on_epoch_end: Callable[[nn.Module, list[Row]], None] | None = None,
    resume: str | Path | bool | None = None,
    checkpoint_every: int | None = None,
    epochs_done: int = 0,
    metadata: dict[str, object] | None = None,
    select: str | None = "acc1",
    tensorboard_dir: str | Path | None = None,
) -> list[Row]:
    """Train `model` for `epochs` epochs and return one row of numbers per epoch (the table above has the arguments).

    Raises:
        UserError: no batch to train on, a folder or checkpoint that cannot be used, a folder that another run uses, or
            a loss that is not finite.
        SystemExit: SIGINT or SIGTERM came; the step was finished and the checkpoint written.
    """
    output_dir = make_folder(output_dir)
    if not len(train_loader):
        raise UserError("there is no batch to train on: the training set is smaller than one batch; lower --batch-size")
    if accumulate > len(train_loader):
        raise UserError(
            f"an epoch has {len(train_loader)} batches, fewer than the {accumulate} that make a step of the optimizer; "
            "accumulate fewer"
        )
    recipe = _Recipe(
        loss_fn,
        schedule,
        amp,
        accumulate,
        clip_grad,
        transform_batch,
        reduce_output,
        truth,
        top5,
        on_step,
        loss_mean,
        checkpoint_every,
    )
    if scaler is None:
        scaler = grad_scaler(amp, process)
    average = ema and ema.to(process.device)
    state = TrainingState(model.to(process.device), optimizer, scaler, scheduler, average, epochs_done)
    state.totals = [0.0] * (4 if top5 else 3)
    facts = {**(metadata or {}), **_facts(state, train_loader, process)}
    checkpoint = output_dir / "checkpoint.pt"
    if resume is True and restarts() and not checkpoint.exists():
        resume = None  # `torchrun --max-restarts` gives the first start the arguments of the others
    if resume:
        state.load(checkpoint if resume is True else Path(resume), process, facts)
    network = _distribute(model, process, sync_bn, find_unused_parameters)
    if average is not None and process.world_size > 1:  # begins at the weights of the main process, as the network does
        for tensor in average.state_dict().values():
            dist.broadcast(tensor, src=0)
    save = partial(state.save, checkpoint, process, facts)
    board = Path(tensorboard_dir or output_dir / "tensorboard")
    with (
        one_writer(output_dir, process),
        _signals() as received,
        Recorder(output_dir, board, process, state.epoch + 1, epochs, select) as recorder,
    ):
        while state.epoch < epochs:
            begin = time.monotonic()
            _train_epoch(network, state, train_loader, recipe, process, received, output_dir, save)
            if state.step == len(train_loader):  # less when a signal came
                _finish_epoch(state, train_loader, recipe, evaluate, process, begin)
                if process.is_main:
                    _save_best(state, select, output_dir)
                    recorder.write(state.history)
                    if on_epoch_end is not None:
                        on_epoch_end(model, state.history)
            save()
            stop = int(max_over_ranks([_stop(received)], process)[0])
            if stop and state.epoch < epochs:
                _leave(stop, state, train_loader, checkpoint, process)
    return state.history


def _facts(state: TrainingState, loader: DataLoader, process: Process) -> dict[str, object]:
    """What has to be the same in a resumed run, whatever the paper."""
    return {
        "optimizer": type(state.optimizer).__name__,
        "scheduler": type(state.scheduler).__name__,
        "ema": state.ema is not None,
        "processes": process.world_size,
        "batches_per_epoch": len(loader),
    }


def _distribute(model: nn.Module, process: Process, sync_bn: bool, find_unused_parameters: bool) -> nn.Module:
    """`model` wrapped so that its gradients, and with `sync_bn` its batch statistics, are those of all processes."""
    if process.world_size == 1:
        return model
    on_cuda = process.device.type == "cuda"
    if sync_bn and on_cuda:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    elif sync_bn and process.is_main:
        print("note: torch synchronises batch norm on CUDA only; on the CPU each process normalises its own batch")
    return DistributedDataParallel(
        model,
        device_ids=[process.device.index] if on_cuda else None,
        find_unused_parameters=find_unused_parameters,
    )


def _train_epoch(
    network: nn.Module,
    state: TrainingState,
    loader: DataLoader,
    recipe: _Recipe,
    process: Process,
    received: list[int],
    output_dir: Path,
    save: Callable[[], None],
) -> None:
    """Train on what is left of the current epoch, or up to the end of the step in which a signal came."""
    wanted = 0
    network.train()
    start_epoch(loader, state.epoch)
    batches = iter(loader)
    for _ in range(state.step):  # a resumed epoch: fetching again moves the workers' random generators on
        next(batches)
    if state.rng is not None:
        set_random_state(state.rng, process.device)
        state.rng = None
    share = process.world_size * loader.batch_size
    with progress_bar(state.epoch, len(loader) * share, state.step * share, process) as bar:
        for inputs, labels in batches:
            inputs, labels = moved((inputs, labels), process.device)
            first = state.step // recipe.accumulate * recipe.accumulate
            group = range(first, first + recipe.accumulate)  # batches of this optimizer step
            synchronised = group[-1] == state.step or process.world_size == 1
            with nullcontext() if synchronised else network.no_sync():
                loss, correct = _forward(network, state, recipe, inputs, labels, process)
                finite = bool(loss.isfinite())
                stop, asked = _agree(finite, received, (inputs, labels), state, process, output_dir)
                wanted = max(wanted, asked)
                if group[0] == state.step:
                    state.optimizer.zero_grad()
                state.scaler.scale(loss / len(group)).backward()
            if group[-1] == state.step:
                _update(state, recipe)
            weight = len(labels) if recipe.loss_mean == "samples" else 1
            added = (loss.item() * weight, correct[0], len(labels), *correct[1:])
            state.totals = [total + new for total, new in zip(state.totals, added, strict=True)]
            state.step += 1
            if recipe.on_step is not None and process.is_main:
                recipe.on_step(state.epoch * len(loader) + state.step, loss.item())
            _show(bar, state, recipe, len(labels) * process.world_size)
            if group[-1] != state.step - 1:
                continue
            if stop:
                return
            due = recipe.checkpoint_every and state.step % recipe.checkpoint_every < recipe.accumulate
            if (due or wanted) and state.step < len(loader):
                save()
                wanted = 0


def _forward(
    network: nn.Module, state: TrainingState, recipe: _Recipe, inputs: Tensor, labels: Tensor, process: Process
) -> tuple[Tensor, list[int]]:
    """Loss and number of correct predictions of a batch, among the five best too if the recipe says so."""
    target = labels
    if recipe.transform_batch is not None:
        inputs, target = recipe.transform_batch(inputs, labels, state.epoch)
    kind = process.device.type
    with torch.autocast(kind, torch.float16 if kind == "cuda" else torch.bfloat16, enabled=recipe.amp):
        output = network(*inputs) if isinstance(inputs, list | tuple) else network(inputs)
        loss = recipe.loss_fn(output, target)
    if recipe.reduce_output is None:
        return loss, [0]
    with torch.no_grad():
        logits = recipe.reduce_output(output)
        right = labels if recipe.truth is None else recipe.truth(target)
        return loss, [int(count_correct(logits, right, k)) for k in ((1, 5) if recipe.top5 else (1,))]


def _agree(
    finite: bool,
    received: list[int],
    batch: tuple[Tensor, Tensor],
    state: TrainingState,
    process: Process,
    output_dir: Path,
) -> tuple[int, int]:
    """Tell all processes of a signal or a loss that is not finite; the signal that ends the run, and SIGUSR1, or 0.

    Raises:
        UserError: in every process, if any loss is not finite; the batch of the first such process is then on disk.
    """
    alarm = 0 if finite else process.world_size - process.rank
    asked = signal.SIGUSR1 if signal.SIGUSR1 in received else 0
    if asked:
        received.remove(asked)
    alarm_of_all, stop, asked = max_over_ranks([alarm, _stop(received), asked], process)
    if not alarm_of_all:
        return int(stop), int(asked)
    path = output_dir / "nonfinite_batch.pt"
    if alarm == alarm_of_all:
        inputs, labels = moved(batch, torch.device("cpu"))
        save_file(path, {"inputs": inputs, "labels": labels, "epoch": state.epoch + 1, "batch": state.step + 1})
    max_over_ranks([0], process)  # a launcher ends all processes with the first: wait until the file is complete
    raise UserError(
        f"the loss is not finite in epoch {state.epoch + 1}, batch {state.step + 1}; that batch is saved in {path}: "
        "look for bad samples in it, or lower the learning rate"
    )


def _update(state: TrainingState, recipe: _Recipe) -> None:
    """One step of the optimizer and of all that follows it."""
    if recipe.clip_grad is not None:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip_grad)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None:
        state.ema.update_parameters(state.model)
    if state.scheduler is not None and recipe.schedule == "step":
        state.scheduler.step()


def _show(bar: tqdm, state: TrainingState, recipe: _Recipe, samples: int) -> None:
    """Move the bar on by `samples` and show this process's means so far."""
    loss_sum, correct, count = state.totals[:3]
    rate = state.optimizer.param_groups[0]["lr"]
    loss = loss_sum / (count if recipe.loss_mean == "samples" else state.step)
    bar.set_postfix_str(f"loss {loss:.4g}, acc1 {100 * correct / count:.1f}, lr {rate:.3g}", refresh=False)
    bar.update(samples)


def _finish_epoch(
    state: TrainingState,
    loader: DataLoader,
    recipe: _Recipe,
    evaluate: Callable[[nn.Module], dict[str, float]],
    process: Process,
    begin: float,
) -> None:
    """Evaluate, append the epoch's row to the history, step the schedule and turn to the next epoch."""
    loss_sum, correct, samples, *among_5 = sum_over_ranks(state.totals, process)
    loss = loss_sum / (samples if recipe.loss_mean == "samples" else state.step * process.world_size)
    row = {"epoch": state.epoch + 1, "lr": state.optimizer.param_groups[0]["lr"], "train_loss": loss}
    if isinstance(loader.sampler, EndlessSampler):
        row["iteration"] = (state.epoch + 1) * len(loader)
    if recipe.reduce_output is not None:
        row["train_acc1"] = 100 * correct / samples
        if among_5:
            row["train_acc5"] = 100 * among_5[0] / samples
    models = {"test_": state.model} | ({"test_ema_": state.ema.module} if state.ema is not None else {})
    for prefix, model in models.items():
        if process.world_size > 1:  # each process has its own running statistics; the main one's go to the checkpoint
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)
        row |= {f"{prefix}{key}": value for key, value in evaluate(model).items()}
    state.history.append(row | {"seconds": time.monotonic() - begin})
    if isinstance(state.scheduler, ReduceLROnPlateau):
        state.scheduler.step(row["train_loss"])
    elif state.scheduler is not None and recipe.schedule == "epoch":
        state.scheduler.step()
    state.epoch, state.step, state.totals = state.epoch + 1, 0, [0.0] * len(state.totals)


def _save_best(state: TrainingState, select: str | None, output_dir: Path) -> None:
    """Keep the weights of the best epoch so far: the first with the highest `select`."""
    if select is None:
        return
    *past, last = (row[f"test_{select}"] for row in state.history)
    if all(last > value for value in past):
        best = state.ema.module if select.startswith("ema_") else state.model
        save_file(output_dir / "best.pt", best.state_dict(), state.model)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGUSR1 in a list instead of being ended by them."""
    received: list[int] = []

    def remember(number: int, _frame: object) -> None:
        received.append(number)

    previous = {number: signal.signal(number, remember) for number in (*STOPPING, signal.SIGUSR1)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop(received: list[int]) -> int:
    """The first signal that ends the run, 0 if none came."""
    return next((number for number in received if number in STOPPING), 0)


def _leave(stop: int, state: TrainingState, loader: DataLoader, checkpoint: Path, process: Process) -> None:
    """Say how to go on and end the process with the shell's status for the signal."""
    if process.is_main:
        print(
            f"stopped by {signal.Signals(stop).name} in epoch {state.epoch + 1} after {state.step} of {len(loader)} "
            f"batches; to continue: the same command with --resume {checkpoint}",
            flush=True,
        )
    raise SystemExit(128 + stop)
