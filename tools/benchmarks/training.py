"""Suite `training`: what the loop adds to a step of a tiny network, and what gradient checkpointing saves.

| variant             | steps of SMA-VGG8 as in `make demo`                                            |
|---------------------|--------------------------------------------------------------------------------|
| ours                | the epoch of `common.training.fit`: counting, showing, looking for signals ... |
| ours, every 10      | the same with `--log-every 10`                                                 |
| bare loop           | zero_grad, forward, loss, backward, step                                       |
"""

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from common.training import Process, make_loader, mse_one_hot, stack_time_first
from common.training.loop import train_epoch
from common.training.state import TrainingState
from common.training.step import Recipe
from common.training.watch import Watch
from tools.benchmarks import measure
from tools.benchmarks.measure import Clock, Row, Setting, Variant
from tools.papers import papers

SETTINGS = (Setting(1, True),)
PROCESS = Process(0, 1, 0, torch.device("cpu"))
DEMO = {"name": "sma_vgg8_cifar10dvs", "T": 4, "num_classes": 10, "width": 0.25}
STEPS, BATCH = 10, 16
MEMORY = {
    "sdt_v3_173m, batch 2": ("sdt_v3_173m", {}, 2),
    "sdt_v3_mae_173m, batch 2": ("sdt_v3_mae_173m", {}, 2),
    "ms_resnet104, T=4, batch 2": ("ms_resnet104", {"T": 4}, 2),
}
"""Networks at their published width and size of image."""
QUICK_MEMORY = {"ms_resnet18, T=2, batch 1": ("ms_resnet18", {"T": 2, "width": 8}, 1)}


def demo(steps: int, batch: int) -> tuple[nn.Module, DataLoader]:
    """The network, and a loader of random frames `[T, B, 2, 32, 32]` and labels `[B]`."""
    model = network(**DEMO)
    frames = torch.rand(steps * batch, DEMO["T"], 2, 32, 32).round()
    data = TensorDataset(frames, torch.randint(10, (len(frames),)))
    time_first = {"collate_fn": stack_time_first, "drop_last": True}
    return model, make_loader(data, batch, train=True, process=PROCESS, **time_first)


def network(name: str, **arguments: object) -> nn.Module:
    """A network of this repository, the same each time."""
    import timm

    papers()  # registers the networks
    torch.manual_seed(0)
    return timm.create_model(name, **arguments)


def ours(every: int, steps: int, batch: int) -> Variant:
    """An epoch of the loop, per step."""
    model, loader = demo(steps, batch)
    recipe = Recipe(mse_one_hot, reduce_output=lambda output: output.mean(0))
    state = TrainingState(model, torch.optim.Adam(model.parameters()), torch.amp.GradScaler(enabled=False), None, None)

    def variant(clock: Clock) -> dict[str, float]:
        state.step, state.totals = 0, [0.0] * 3
        with tempfile.TemporaryDirectory() as folder:
            watch = Watch(every, recipe, PROCESS, Path(folder), [])
            start = clock()
            train_epoch(model, state, loader, recipe, watch, None, lambda: None)
            return {"training step": (clock() - start) / steps}

    return variant


def bare(steps: int, batch: int) -> Variant:
    """The same steps with nothing around them."""
    model, loader = demo(steps, batch)
    model.train()
    optimizer = torch.optim.Adam(model.parameters())

    def variant(clock: Clock) -> dict[str, float]:
        start = clock()
        for frames, labels in loader:
            optimizer.zero_grad()
            mse_one_hot(model(frames), labels).backward()
            optimizer.step()
        return {"training step": (clock() - start) / steps}

    return variant


def times(setting: Setting, repeats: int, steps: int, batch: int) -> list[Row]:
    """All rows of the suite; meant for a fresh process."""
    clock = setting.enter()
    variants = {
        "ours": ours(1, steps, batch),
        "ours, every 10": ours(10, steps, batch),
        "bare loop": bare(steps, batch),
    }
    return measure.interleaved(
        "training", f"SMA-VGG8 of the demo, batch {batch}", setting, clock, variants, repeats, warmups=1
    )


def peak(case: str, again: bool, quick: bool) -> dict:
    """MiB that forward and backward allocate beside weights, gradients and input; meant for a fresh process."""
    name, arguments, batch = (QUICK_MEMORY if quick else MEMORY)[case]
    measure.return_freed_memory()
    model = network(name, **arguments).train()
    if again:
        model.set_grad_checkpointing()
    images = torch.rand(model.layout.at(32).shape(batch) if quick else model.layout.shape(batch))

    def work() -> None:
        model.zero_grad(set_to_none=False)  # gradients are there before and after, and do not count
        output = model(images)
        (output[0] if isinstance(output, tuple) else output).square().mean().backward()

    size = measure.peak_memory(work)
    variant = "grad checkpointing" if again else "ours"
    return {"case": case, "variant": variant, "size": None if size is None else size / 2**20}


def run(quick: bool) -> dict:
    """Measure the suite; returns its part of the report."""
    repeats, steps, batch = (2, 2, 2) if quick else (5, STEPS, BATCH)
    rows = [row for setting in SETTINGS for row in measure.in_fresh_process(times, setting, repeats, steps, batch)]
    cases = [(case, again, quick) for case in (QUICK_MEMORY if quick else MEMORY) for again in (False, True)]
    return {"rows": rows, "memory": measure.side_by_side(peak, cases)}
