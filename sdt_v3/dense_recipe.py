"""How detectors and segmentors are trained: parameter groups, schedules, and where their weights come from."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset

from common.errors import UserError
from common.tiny.scenes import write_tiny_scenes
from common.training import Process, data_folder, load_state, main_first, read_weights
from common.training.checkpoint import save_file
from sdt_v3.models.checkpoint import settings_of


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float, *, head_factor: float = 1.0, norm_decay: bool = True
) -> list[dict]:
    """Optimizer groups: parameters with `head` in their name learn `head_factor` times as fast.

    The release means to spare batch norms from decay, but its rule matches no parameter: false spares them.
    """
    norms = {id(p) for m in model.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    groups: dict[tuple[bool, bool], dict] = {}
    for name, parameter in model.named_parameters():
        key = head_factor != 1 and "head" in name, not norm_decay and id(parameter) in norms
        settings = {"lr": lr * head_factor if key[0] else lr, "weight_decay": 0.0 if key[1] else weight_decay}
        groups.setdefault(key, settings | {"params": []})["params"].append(parameter)
    return list(groups.values())


def warm_up(step: int, steps: int, first: float) -> float:
    """Factor of the learning rate: linear from `first` to 1 over `steps` steps, from step 0 on."""
    return 1.0 if step >= steps - 1 else first + (1 - first) * step / (steps - 1)


def step_decay(
    optimizer: Optimizer, batches: int, milestones: Sequence[int], *, warmup: int = 1000, first: float = 1e-3
) -> LambdaLR:
    """Detection: a tenth after each of the epochs `milestones`, of `batches` steps each, times the warm-up."""

    def factor(step: int) -> float:
        return warm_up(step, warmup, first) * 0.1 ** sum(step >= epoch * batches for epoch in milestones)

    return LambdaLR(optimizer, factor)


def linear_decay(optimizer: Optimizer, steps: int, *, warmup: int = 1500, first: float = 1e-6) -> LambdaLR:
    """Segmentation: the warm-up, then linearly to 0 in the last of `steps` steps."""

    def factor(step: int) -> float:
        if step < warmup:
            return warm_up(step, warmup, first)
        return max(1 - (step - warmup) / max(steps - warmup - 1, 1), 0.0)

    return LambdaLR(optimizer, factor)


def build_network(args: argparse.Namespace, process: Process, num_classes: int, **settings: object) -> nn.Module:
    """`--model` with `settings`, started from `--weights` if given; see `started_from`.

    Raises:
        UserError: settings that make no network, or weights that do not fit it.
    """
    import timm

    settings |= {name: getattr(args, name) for name in ("embed_dim", "depth", "fpn_channels")}
    settings = {name: value for name, value in settings.items() if value is not None}
    weights = read_weights(args.weights) if args.weights else None
    if weights is not None:
        found = settings_of({key.removeprefix("backbone."): value for key, value in weights.items()})
        settings["embed_dim"] = found["embed_dim"]
        if found.get("layer_scale") and "_det_" in args.model:  # as in some classifiers
            settings["layer_scale"] = True
        if args.eval and not found.get("layer_scale") and "_seg_" in args.model:
            settings["layer_scale_init"] = False
    try:
        model = timm.create_model(args.model, num_classes=num_classes, max_value=args.max_value, **settings)
    except ValueError as error:
        raise UserError(f"{args.model} cannot be built with these --embed_dim and --depth: {error}") from error
    if weights is not None:
        if args.eval:
            load_state(model, weights, args.weights)
        else:
            report = started_from(model, weights, args.weights)
            if process.is_main:
                print(report)
    return model.to(process.device)


def started_from(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> str:
    """Load into `model` what fits of `weights`, of a classifier or of a network like it, and say what stayed new.

    A classifier gives all but its head to the backbone. Heads for another number of classes stay new.

    Raises:
        UserError: they lack something of the backbone, or it has another shape.
    """
    own = model.state_dict()
    whole = any(key.startswith("backbone.") for key in weights)
    named = {key if whole else f"backbone.{key}": value for key, value in weights.items()}
    taken = {
        key: value
        for key, value in named.items()
        if key in own and (key.startswith("backbone.") or value.shape == own[key].shape)
    }
    new = [key for key in own if key not in taken and (not key.startswith("backbone.") or ".layer_scale" in key)]
    load_state(model, taken | {key: own[key] for key in new}, path)
    parts = dict.fromkeys(".".join(key.split(".")[:2]) if "layer_scale" not in key else "layer scales" for key in new)
    return f"{path}: {len(taken)} of {len(weights)} entries loaded; new are {', '.join(parts) or 'none'}"


@dataclass(frozen=True)
class Snapshots:
    """Files in the form of the release's training, `epoch_N.pth` or `iter_N.pth`: state_dict, optimizer, meta."""

    folder: Path
    model: nn.Module
    optimizer: Optimizer

    def save(self, unit: Literal["epoch", "iter"], number: int) -> None:
        """Write one."""
        content = {
            "meta": {unit: number},
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_file(self.folder / f"{unit}_{number}.pth", content)

    def after_epoch(self, model: nn.Module, history: list[dict]) -> None:
        """`on_epoch_end` of the loop."""
        self.save("epoch", history[-1]["epoch"])

    def after_step(self, every: int) -> Callable[[int], None]:
        """`after_step` of the loop, which writes one each `every` steps."""

        def write(step: int) -> None:
            if step % every == 0:
                self.save("iter", step)

        return write


def data_root(args: argparse.Namespace, process: Process, home: str, scenes: str, sizes: Mapping[str, int]) -> Path:
    """Folder of the data set, by default `data/<home>`; for `--tiny` alone `scenes` of these `sizes` are painted.

    They lie below the output folder.
    """
    if args.data_path or not args.tiny:
        return args.data_path or data_folder(home)
    with main_first(process):
        return write_tiny_scenes(scenes, args.output_dir / "data", **sizes)


def report_test(
    args: argparse.Namespace, process: Process, model: nn.Module, data: Dataset, found: dict[str, float], width: int
) -> None:
    """Say what a test `found`, names in columns of `width`, and count operations over its pictures if wanted."""
    if not process.is_main:
        return
    print(f"{args.weights}: {found.pop('samples')} images")
    print("\n".join(f"{name:{width}}{value:7.2f} %" for name, value in found.items()))
    print(f"pictures in {args.output_dir / 'pictures'}")
    if args.energy:
        some = range(min(max(args.pictures, 1), len(data)))
        batches = [data[index][0][None].to(process.device) for index in some]
        energy_and_rates(model, batches, args.output_dir, args.model)


def conclusion(history: Sequence[Mapping[str, float]], measure: str) -> str:
    """The last and the best value of a measure in percent, and how the best was chosen."""
    last, best = history[-1], max(history, key=lambda row: row[f"test_{measure}"])
    return (
        f"{measure}: last {last[f'test_{measure}']:.2f} %, best {best[f'test_{measure}']:.2f} % at epoch "
        f"{best['epoch']} (selected on the test set)"
    )


def where_results_are(args: argparse.Namespace, history: Sequence[Mapping[str, float]], measure: str) -> None:
    """Draw the curves of a finished run with the `measure` that chose its best epoch, and say where everything lies."""
    from common.analysis.figures import training_curves  # matplotlib is slow to import

    folder = args.output_dir
    curves = training_curves(history, folder / "curves.png", args.model, measure=measure)
    print(f"best weights  {folder / 'best.pt'}\npictures      {folder / 'pictures'}\ncurves        {curves}")


def energy_and_rates(model: nn.Module, batches: Sequence[Tensor], folder: Path, name: str) -> None:
    """Write operations and energy by the paper's formula, and what each neuron emits, over `batches` of images."""
    from common.analysis.energy_report import energy_report
    from common.analysis.operations import count_operations
    from sdt_v3 import PAPER
    from sdt_v3.firing import rows, watch_integers, write_table

    with watch_integers(model) as counts:
        layers = count_operations(model, batches)
    energy_report(layers, PAPER.energy, folder, name)
    table = rows(counts)
    write_table(table, folder / f"{name}_int_firing_rate.csv")
    mean = sum(row["normalised_rate"] for row in table) / len(table)
    print(f"{len(table)} neurons over {len(batches)} pictures: mean normalised firing rate {mean:.4f}")
