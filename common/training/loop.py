"""The one training loop.

| argument of `fit` | meaning |
|---|---|
| `model` | the bare network; `fit` moves it to the device and wraps it for several processes |
| `train_loader` | from `make_loader`; yields (inputs, labels `[B]`); a tuple of inputs holds the network's arguments |
| `evaluate(model)` | numbers of the test set, the same in every process; called in all of them after each epoch |
| `scheduler` | what sets the learning rates, stepped as the recipe's `schedule` says |
| `scaler` | the gradient scaler, for those who save it in files of their own; None: one as `amp` needs |
| `ema` | `AveragedModel` of the bare network, updated after every optimizer step and evaluated too (`test_ema_*`) |
| `sync_bn` | batch statistics over all processes; on the CPU torch has no such layer, which is said and left out |
| `on_epoch_end(model, history)` | the main process's own result files, before the checkpoint of that epoch |
| `resume` | a checkpoint, or True for that of `output_dir`; there may be none under `torchrun --max-restarts` |
| `checkpoint_every` | batches after which a checkpoint is written within an epoch too; SIGUSR1 asks for one at once |
| `epochs_done` | epochs that the weights have behind them when they come from elsewhere than `resume` |
| `metadata` | plain facts for the checkpoint; all but "args" have to agree when it is resumed |
| `select` | key of `evaluate`'s result that decides `best.pt`, higher is better ("ema_acc1": the average); None: none |
| `scale` | the flags of docs/scale.md |
| `recipe` | the fields of `common.training.step.Recipe`: loss, precision, accumulation, accuracy ... |

Files in `output_dir`: `checkpoint.pt` after every epoch, `best.pt` (a plain state dict), `log.csv`, `log.jsonl`,
`tensorboard/`. A run that was killed and resumed on the CPU ends bit-equal to one that was not. From three processes
on this needs `find_unused_parameters=True`: otherwise torch regroups the gradients after the first step of every
start, and with them the order in which gloo adds, which moves the last bit.
"""

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from common.errors import UserError
from common.files import make_folder
from common.training.checkpoint import save_file
from common.training.launch import Process, max_over_ranks, one_writer, restarts, sum_over_ranks
from common.training.loaders import EndlessSampler, ended_workers, moved, start_epoch
from common.training.program import grad_scaler
from common.training.record import Recorder, progress_bar
from common.training.scale import Scale
from common.training.state import TrainingState, set_random_state
from common.training.step import Recipe, train_on
from common.training.watch import Watch, signals, stopping
from common.training.writer import beside_training

Row = dict[str, float]
DEFAULT = Scale()


def fit(
    model: nn.Module,
    train_loader: DataLoader,
    *,
    optimizer: Optimizer,
    epochs: int,
    evaluate: Callable[[nn.Module], dict[str, float]],
    process: Process,
    output_dir: str | Path,
    scheduler: LRScheduler | None = None,
    scaler: torch.amp.GradScaler | None = None,
    ema: AveragedModel | None = None,
    sync_bn: bool = False,
    find_unused_parameters: bool = False,
    on_epoch_end: Callable[[nn.Module, list[Row]], None] | None = None,
    resume: str | Path | bool | None = None,
    checkpoint_every: int | None = None,
    epochs_done: int = 0,
    metadata: dict[str, object] | None = None,
    select: str | None = "acc1",
    tensorboard_dir: str | Path | None = None,
    scale: Scale = DEFAULT,
    **recipe: object,
) -> list[Row]:
    """Train `model` for `epochs` epochs and return one row of numbers per epoch (the table above has the arguments).

    Raises:
        UserError: no batch to train on, a folder or checkpoint that cannot be used, a folder that another run uses, or
            a loss that is not finite.
        SystemExit: SIGINT or SIGTERM came; the step was finished and the checkpoint written.
    """
    output_dir, recipe = make_folder(output_dir), Recipe(**recipe, half=scale.half(process))
    _check_batches(len(train_loader), recipe.accumulate)
    scale.prepare(model, recipe, ema, process)
    checkpoint_every = scale.interval(checkpoint_every, recipe)
    if scaler is None:
        scaler = grad_scaler(recipe.amp, process, scale)
    average = ema and ema.to(process.device)
    if average is not None:
        average.n_averaged = average.n_averaged.cpu()  # the host reads it in every step
    state = TrainingState(model.to(process.device), optimizer, scaler, scheduler, average, epochs_done)
    state.totals = [0.0] * (4 if recipe.top5 else 3)
    facts = {**(metadata or {}), **_facts(state, train_loader, process)}
    checkpoint = output_dir / "checkpoint.pt"
    if resume is True and restarts() and not checkpoint.exists():
        resume = None  # `torchrun --max-restarts` gives the first start the arguments of the others
    if resume:
        there = state.load(checkpoint if resume is True else Path(resume), process, facts)
        if recipe.loss_mean == "batches":  # as many processes as here would have added so many
            state.totals[0] *= process.world_size / there
    if average is not None and process.world_size > 1:  # begins at the weights of the main process, as the network does
        for tensor in average.module.state_dict().values():
            dist.broadcast(tensor, src=0)
    network = scale.distribute(state, process, sync_bn=sync_bn, find_unused_parameters=find_unused_parameters)
    save = partial(state.save, checkpoint, process, facts, scale.keep_checkpoints)
    board = Path(tensorboard_dir or output_dir / "tensorboard")
    with (
        one_writer(output_dir, process),
        ended_workers(train_loader),
        signals() as received,
        Recorder(
            output_dir, board, process, state.epoch + 1, epochs, select, scale.tracker, facts.get("args")
        ) as recorder,
        beside_training(process) as writer,
    ):
        save_within = partial(save, writer=writer) if scale.async_checkpoints else save
        watch = Watch(scale.log_every, recipe, process, output_dir, received)
        while state.epoch < epochs:
            begin = time.monotonic()
            train_epoch(network, state, train_loader, recipe, watch, checkpoint_every, save_within)
            writer.wait()
            if state.step == len(train_loader):  # less when a signal came
                with state.whole():
                    _finish_epoch(state, train_loader, recipe, evaluate, watch, begin)
                    if process.is_main:
                        _save_best(state, select, output_dir)
                        recorder.write(state.history)
                        if on_epoch_end is not None:
                            on_epoch_end(model, state.history)
            save()
            stop = int(max_over_ranks([stopping(received)], process)[0])
            if stop and state.epoch < epochs:
                _leave(stop, state, train_loader, checkpoint, process)
    return state.history


def _check_batches(batches: int, accumulate: int) -> None:
    """Refuse an epoch of so many `batches` if it makes no step of the optimizer."""
    if not batches:
        raise UserError("there is no batch to train on: the training set is smaller than one batch; lower --batch-size")
    if accumulate > batches:
        raise UserError(
            f"an epoch has {batches} batches, fewer than the {accumulate} that make a step of the optimizer; "
            "accumulate fewer"
        )


def _facts(state: TrainingState, loader: DataLoader, process: Process) -> dict[str, object]:
    """What has to be the same in a resumed run, whatever the paper."""
    return {
        "optimizer": type(state.optimizer).__name__,
        "scheduler": type(state.scheduler).__name__,
        "ema": state.ema is not None,
        "processes": process.world_size,
        "batches_per_epoch": len(loader),
    }


def train_epoch(
    network: nn.Module,
    state: TrainingState,
    loader: DataLoader,
    recipe: Recipe,
    watch: Watch,
    checkpoint_every: int | None,
    save: Callable[[], None],
) -> None:
    """Train on what is left of the current epoch, or up to the end of the step in which a signal was seen."""
    process = watch.process
    network.train()
    start_epoch(loader, state.epoch, state.step)
    batches = iter(loader)
    if state.rng is not None:
        set_random_state(state.rng, process.device)
        state.rng = None
    watch.start()
    share = process.world_size * loader.batch_size
    with progress_bar(state.epoch, len(loader) * share, state.step * share, process) as bar:
        for batch in watch.waiting(batches):
            inputs, labels = moved(batch, process.device)
            outcome = train_on(network, state, recipe, (inputs, labels), len(loader), process)
            watch.note(outcome, (inputs, labels))
            if recipe.after_step is not None and process.is_main:
                recipe.after_step(state.epoch * len(loader) + state.step)
            whole, last = recipe.completes_a_step(state.step), state.step == len(loader)
            due = whole and checkpoint_every and state.step % checkpoint_every < recipe.accumulate
            if due or last or state.step % watch.every == 0 or (whole and (watch.stop or watch.asked)):
                watch.look(state, len(loader), bar)
            if whole and watch.stop:
                return
            if (due or (whole and watch.asked)) and not last:
                save()
                watch.asked = False


def _finish_epoch(
    state: TrainingState,
    loader: DataLoader,
    recipe: Recipe,
    evaluate: Callable[[nn.Module], dict[str, float]],
    watch: Watch,
    begin: float,
) -> None:
    """Evaluate, append the epoch's row to the history, step the schedule and turn to the next epoch."""
    process, speed = watch.process, watch.speed()
    loss_sum, correct, samples, *among_5 = sum_over_ranks(state.totals, process)
    loss = loss_sum / (samples if recipe.loss_mean == "samples" else state.step * process.world_size)
    row = {"epoch": state.epoch + 1, "lr": state.optimizer.param_groups[0]["lr"], "train_loss": loss}
    if isinstance(loader.sampler.order, EndlessSampler):
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
    state.history.append(row | speed | {"seconds": time.monotonic() - begin})
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


def _leave(stop: int, state: TrainingState, loader: DataLoader, checkpoint: Path, process: Process) -> None:
    """Say how to go on and end the process with the shell's status for the signal."""
    if process.is_main:
        print(
            f"stopped by {signal.Signals(stop).name} in epoch {state.epoch + 1} after {state.step} of {len(loader)} "
            f"batches; to continue: the same command with --resume {checkpoint}",
            flush=True,
        )
    raise SystemExit(128 + stop)
