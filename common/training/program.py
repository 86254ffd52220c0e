"""What a script does around its training: beginning, announcing, refusing, and saying where everything lies."""

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Dataset

from common.errors import UserError
from common.training.checkpoint import load_state, read_weights
from common.training.evaluation import evaluate_classification
from common.training.launch import Process, max_over_ranks, seed_everything, start
from common.training.record import Row, verdict
from common.training.scale import Scale
from common.weights import card_facts, locate

DATA = Path(__file__).resolve().parents[2] / "data"
"""`data` in the repository."""


def begin(args: argparse.Namespace, *, one_seed: bool = False) -> Process:
    """Join the other processes, name in one line what was given and has no effect, seed, and set cudnn up.

    With `one_seed` all processes draw the same numbers: dropout, and what mixes their batches.
    """
    process = start(args.device, args.local_rank)
    ignored = vars(args).pop("ignored")
    if ignored and process.is_main:
        print(f"warning: accepted, without effect here: {', '.join(ignored)}", flush=True)
    seed_everything(args.seed, 0 if one_seed else process.rank)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = args.deterministic, not args.deterministic
    return process


def data_folder(*names: str) -> Path:
    """Where a data set is looked for without `--data-path`: `data/NAME` here, then in the repository.

    Of several `names` that it may have the first that is there counts; if none is, the repository's first is named.
    """
    places = [home / name for name in names for home in (Path("data"), DATA)]
    return next((place for place in places if place.is_dir()), DATA / names[0])


def weights_to_test(args: argparse.Namespace, remedy: str = "--weights FILE") -> Path | None:
    """What `--weights` or, as some authors have it, `--resume FILE` names, if `--eval` asks for a test.

    Raises:
        UserError: `--eval` without weights; `remedy` says what to add.
    """
    if not args.eval:
        return args.weights
    weights = args.weights or (args.resume if isinstance(getattr(args, "resume", None), Path) else None)
    if not weights:
        raise UserError(f"there are no weights to test: add {remedy}")
    return weights


def start_from(model: nn.Module, weights: str | Path | None, process: Process, *, testing: bool) -> None:
    """Load `weights`, if given: every key for a test; for training a head of another number of classes stays new.

    Raises:
        UserError: see `load_weights`.
    """
    if not weights:
        return
    state = read_weights(weights)
    if testing:
        load_state(model, state, weights)
        return
    renewed = load_but_heads(model, state, weights)
    if renewed and process.is_main:
        there, here = len(state[renewed[0]]), len(model.state_dict()[renewed[0]])
        print(f"{weights} has {there} classes, here are {here}: the head is new ({', '.join(renewed)})", flush=True)


def load_but_heads(model: nn.Module, state: Mapping[str, torch.Tensor], path: str | Path) -> list[str]:
    """Load the `state` in a file, but leave a head of another number of classes as it is; the keys of that head.

    Raises:
        UserError: see `load_state`.
    """
    own, renewed = model.state_dict(), _heads_of_other_classes(model, state)
    load_state(model, {**state, **{key: own[key] for key in renewed}}, path)
    return renewed


def _heads_of_other_classes(model: nn.Module, state: Mapping[str, torch.Tensor]) -> list[str]:
    """Entries of the linear layers that differ from `state` in the number of outputs alone, and of norms after them."""
    layers = {
        kind: {
            f"{name}.{part}": tensor
            for name, module in model.named_modules()
            if isinstance(module, kind)
            for part, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        }
        for kind in (nn.Linear, _BatchNorm)
    }
    heads = {
        key: (len(state[key]), len(tensor))
        for key, tensor in layers[nn.Linear].items()
        if key in state and state[key].shape[1:] == tensor.shape[1:] and len(state[key]) != len(tensor)
    }
    norms = [
        key
        for key, tensor in layers[_BatchNorm].items()
        if tensor.ndim and key in state and (len(state[key]), len(tensor)) in heads.values()
    ]
    return [*heads, *norms]


def evaluation_folder(output_dir: Path, weights: Path) -> Path:
    """Where a test of `weights` leaves its files: `<output_dir>/evaluation/<name of the weights>`."""
    return output_dir / "evaluation" / Path(weights).name.partition(".")[0]


def classes_to_test(args: argparse.Namespace) -> int | None:
    """The number of classes of the weights that `--eval` tests, if they have a card that says it."""
    return card_facts(locate(args.weights)).get("create", {}).get("num_classes") if args.eval else None


def class_count(wanted: int | None, found: int, root: Path, flag: str = "--num-classes") -> int:
    """The number of classes of the network: `wanted` by a flag or a card, or those `found` in the data set at `root`.

    Raises:
        UserError: the data set has more than are wanted.
    """
    if wanted is not None and found > wanted:
        raise UserError(f"{root} has {found} classes; give {flag} {found}")
    return found if wanted is None else wanted


def own_name(args: argparse.Namespace, folder: Path | None, data: Dataset, published: int) -> str | None:
    """What runs and files are called on own data in `folder`; None on the published ones, and with `--tiny`.

    Own are data with another number of classes than the published set, or of which the loader says so.
    """
    own = len(getattr(data, "classes", range(published))) != published or not getattr(data, "is_published", True)
    return folder.resolve().name if folder and own and not args.tiny else None


def mixed_precision(args: argparse.Namespace, process: Process) -> bool:
    """Whether to compute in half precision: on CUDA, unless `--amp` or `--no-amp` says otherwise."""
    return process.device.type == "cuda" if args.amp is None else args.amp


def precision(args: argparse.Namespace, process: Process) -> torch.autocast:
    """The context that computes in the precision of training, for an evaluation."""
    return torch.autocast(process.device.type, Scale.of(args).half(process), enabled=mixed_precision(args, process))


def evaluate_in_precision(
    model: nn.Module, loader: DataLoader, args: argparse.Namespace, process: Process, **more: object
) -> dict[str, float]:
    """Cross entropy and accuracies in the precision of training; `more` for `evaluate_classification`."""
    with precision(args, process):
        return evaluate_classification(model, loader, F.cross_entropy, process, **more)


def grad_scaler(amp: bool, process: Process, scale: Scale) -> torch.amp.GradScaler:
    """A gradient scaler, at work in mixed precision with float16 only: bfloat16 needs none."""
    return torch.amp.GradScaler(process.device.type, enabled=amp and scale.half(process) == torch.float16)


def announce(args: argparse.Namespace, tiny: Iterable[str], what: str) -> None:
    """Say what is about to run, and in what `--tiny` differs from the paper."""
    print(what)
    if args.tiny:
        changed = ", ".join(f"{name}={getattr(args, name)}" for name in tiny)
        print(f"--tiny is a check of the whole path, not the paper's experiment: {changed}")


def conclude(history: Sequence[Row], num_classes: int, folder: Path, title: str, places: Mapping[str, object]) -> None:
    """Draw the curves of a finished run into `folder`, give the verdict, and say where everything lies."""
    from common.analysis import figures  # matplotlib is slow to import

    figures.training_curves(history, folder / "curves.png", title, num_classes)
    places = {
        **places,
        "checkpoint": f"{folder / 'checkpoint.pt'}  (continue with --resume)",
        "curves": folder / "curves.png",
        "metrics": folder / "log.csv",
    }
    print(verdict(history, num_classes))
    print("\n".join(f"{name:14}{place}" for name, place in places.items()))


def run_folder(root: Path, time_now: str, resume: Path | bool | None, process: Process, *, among: str = "*") -> Path:
    """The folder of a run in `root`, named by its start; a resumed run keeps the folder of its checkpoint.

    `resume` is a checkpoint, or True for the newest one in `root` whose folder matches the pattern `among`.

    Raises:
        UserError: there is no checkpoint to resume.
    """
    if not resume:
        (now,) = max_over_ranks([time.time()], process)  # the same in all processes
        return root / datetime.fromtimestamp(now).strftime(time_now)
    if resume is not True:
        return resume.parent
    found = sorted(root.glob(f"{among}/checkpoint.pt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(f"--resume: there is no {root}/{among}/checkpoint.pt; start without it, or name the checkpoint")
    return found[-1].parent
