"""Files of weights and checkpoints: written whole or not at all, read without ever running what is in them."""

import io
import json
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from common.errors import UserError, reason_of
from common.files import atomic_path
from common.pickled import ALLOWED
from common.training.contents import kind_of
from common.weights import check_is_file, locate, write_card

FORMAT = "spiking-papers checkpoint"
VERSION = 1

FREE = ("args", "processes")
"""What a resumed run may have otherwise than its checkpoint says."""
WRAPPERS = (
    "model", "state_dict", "model_state_dict", "net", "network", "module", "model_ema", "state_dict_ema", "ema",
)  # fmt: skip
"""Under which of a checkpoint's keys its weights may be; the first that is there is taken."""
_COUNTERS = ("total_ops", "total_params")
"""Buffers that thop leaves in every layer of a network whose operations it counted."""


def save_file(path: str | Path, content: object, model: nn.Module | None = None) -> None:
    """`torch.save` that leaves the old file or the new one, never half of one; with the card of its `model`.

    Raises:
        UserError: the folder cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        try:
            torch.save(content, stream)
        except RuntimeError as error:  # torch's writer on a disk that is full
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
    if model is not None:
        write_card(Path(path), model)


def save_checkpoint(
    path: str | Path, content: Mapping[str, object], metadata: Mapping[str, object] | None = None
) -> None:
    """Write `content` with the format version and `metadata`, the facts that a resumed run has to share."""
    save_file(path, {"format": FORMAT, "version": VERSION, "metadata": _plain(metadata), **content})


def load_checkpoint(path: str | Path, metadata: Mapping[str, object] | None = None) -> dict[str, object]:
    """Read what `save_checkpoint` wrote, on the CPU; compare its metadata but for `FREE` with `metadata` if given.

    Raises:
        UserError: the file is missing, damaged, no checkpoint of this project, of a newer format, or of another run.
    """
    content = read_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a training checkpoint of this project; give plain weights with --weights")
    version, facts = content.get("version"), content.get("metadata")
    if not isinstance(version, int) or not isinstance(facts, dict):
        raise UserError(f"{path} is no whole checkpoint: its version or metadata are missing; resume from another one")
    if version > VERSION:
        raise UserError(f"{path} has checkpoint format {version}, this installation reads up to {VERSION}; update it")
    if metadata is not None and (differences := _differences(facts, _plain(metadata))):
        raise UserError(
            f"{path} belongs to another run: {'; '.join(differences)}; resume with the settings of the checkpoint"
        )
    return _joined(content, Path(path))


def _joined(content: object, path: Path) -> object:
    """What a file holds, with the tensors that several processes wrote beside it if it is a checkpoint of `--fsdp`."""
    if not isinstance(content, dict) or not isinstance(name := content.get("parts"), str):
        return content
    from common.training.sharding import read_parts  # slow to import

    folder = Path(name).name  # beside the checkpoint, whatever it says
    if not folder.endswith(".parts"):
        raise UserError(f"{path} is no whole checkpoint: it names {name!r} as its parts; resume from another one")
    return read_parts(path.with_name(folder), content)


def load_weights(model: nn.Module, path: str | Path, *, allow_nan: bool = False) -> None:
    """Load the weights that `read_weights` finds by a path or a name into `model`, every key or none.

    Numbers that are not finite are refused unless `allow_nan`.

    Raises:
        UserError: the file is missing, damaged or holds something else, or its weights do not fit `model`.
    """
    load_state(model, read_weights(path), path, allow_nan=allow_nan)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU; `path` may be the name of weights in the store of `common.weights`.

    Raises:
        UserError: the file is missing, damaged or holds something else.
    """
    file = Path(locate(path))
    return state_of(_joined(read_file(file), file), path)


def state_of(state: object, path: str | Path) -> dict[str, Tensor]:
    """The state dict in what `read_file` returned for `path`.

    It may be bare or under one or more of `WRAPPERS`. From its keys go `_orig_mod.`, a `module.` or `model.` that is
    before all of them, and the counters of `AveragedModel` and thop. It is said what was left out and, of several sets
    of weights, which was taken.

    Raises:
        UserError: there is none.
    """
    for _ in range(len(WRAPPERS)):
        found = [key for key in WRAPPERS if isinstance(state, dict) and isinstance(state.get(key), dict) and state[key]]
        if not found:
            break
        if len(found) > 1:
            note(f"{path}: weights are those under {found[0]}, not those under {', '.join(found[1:])}")
        state = state[found[0]]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        raise UserError(f"{path} holds no weights; expected a state dict, bare or under one of {', '.join(WRAPPERS)}")
    kept = {key: value for key, value in state.items() if key.rpartition(".")[2] not in (*_COUNTERS, "n_averaged")}
    if left := [key for key in state if key not in kept]:
        note(f"{path}: {_listing('counters left out', left)}")
    return {name: kept[key] for key, name in _bare_names(list(kept), path).items()}


def _bare_names(keys: list[str], path: str | Path) -> dict[str, str]:
    """{key: the same without what wrappers put before it}."""
    names = {key: key.replace("_orig_mod.", "") for key in keys}
    gone = ["_orig_mod."] * (list(names) != list(names.values()))
    for prefix in ("module.", "module.", "module.", "model.", "module."):
        if names and all(name.startswith(prefix) for name in names.values()):
            names = {key: name.removeprefix(prefix) for key, name in names.items()}
            gone.append(prefix)
    if gone:
        note(f"{path}: {' and '.join(gone)} left out of the names of its weights")
    if len(set(names.values())) < len(names):
        raise UserError(f"{path} holds weights twice, with and without a prefix; store one set of them")
    return names


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: str | Path, *, allow_nan: bool = False) -> None:
    """Load a state dict that came from `path`, every key or none; see `load_weights`.

    Counts of batches that old versions of torch did not store begin at 0.
    """
    own = model.state_dict()
    uncounted = [key for key in own if key not in state and key.endswith("num_batches_tracked")]
    if uncounted:
        note(f"{path}: {_listing('counts of batches missing', uncounted)}; they begin at 0")
        state = {**state, **{key: torch.zeros_like(own[key]) for key in uncounted}}
    shapes = {key: (tuple(state[key].shape), tuple(own[key].shape)) for key in own.keys() & state.keys()}
    others = [f"{key} {shapes[key][0]} for {shapes[key][1]}" for key in own if len(set(shapes.get(key, ()))) > 1]
    missing, unexpected = [key for key in own if key not in state], [key for key in state if key not in own]
    problems = [_listing("missing", missing), _listing("unexpected", unexpected), _listing("of another shape", others)]
    if any(problems):
        remedy = "choose the model and the settings that they were trained with"
        if others and not missing and not unexpected:
            remedy = "choose the number of classes and the sizes that they were trained with"
        elif prefix := _prefix(list(own), list(state)):
            remedy = f"their names begin with {prefix}, those of the model do not: store them without it"
        raise UserError(
            f"the weights in {path} do not fit {type(model).__name__}: {'; '.join(filter(None, problems))}; {remedy}"
        )
    _check_numbers(own, state, path, allow_nan)
    model.load_state_dict(state)


def _prefix(own: list[str], keys: list[str]) -> str:
    """What stands before each of the model's `own` names in `keys`; empty if that is not the difference."""
    prefix = keys[0].removesuffix(own[0]) if keys and own and keys[0].endswith(own[0]) else ""
    return prefix if {prefix + key for key in own} <= set(keys) else ""


def _check_numbers(own: Mapping[str, Tensor], state: Mapping[str, Tensor], path: str | Path, allow_nan: bool) -> None:
    """Refuse what torch would convert without a word, and what no network computes with."""
    for key, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise UserError(f"{path}: {key} is no plain tensor; store it as one")
        if value.is_complex() or value.is_floating_point() != own[key].is_floating_point():
            raise UserError(
                f"{path}: {key} is {value.dtype}, the model has {own[key].dtype} there; store the weights that were "
                "trained"
            )
        if value.is_floating_point() and not allow_nan and not value.isfinite().all():
            raise UserError(
                f"{path}: {key} holds NaN or infinity: its training had failed; take an earlier checkpoint, or "
                "load it by load_weights(..., allow_nan=True)"
            )


def note(text: str) -> None:
    """Say something on stderr, once for all processes."""
    if not dist.is_initialized() or dist.get_rank() == 0:
        print(f"note: {text}", file=sys.stderr, flush=True)


def _listing(what: str, names: list[str], shown: int = 3) -> str:
    """`2 missing (a, b)`, with the first few names; empty without any."""
    if not names:
        return ""
    return f"{len(names)} {what} ({', '.join(names[:shown])}{', ...' if len(names) > shown else ''})"


def read_file(path: str | Path, content: bytes | None = None) -> object:
    """Content of a torch or safetensors file, tensors on the CPU.

    `content` are the bytes of the file where they were read before, to be hashed: the same bytes are loaded then.

    Raises:
        UserError: the file is missing, damaged or holds something else than tensors and plain values.
    """
    path = Path(path)
    if content is None:
        check_is_file(path)
        if not path.is_file():
            raise UserError(f"there is no file {path}; check the path, or start without --resume or --weights")
    try:
        with path.open("rb") if content is None else io.BytesIO(content) as stream:
            kind = kind_of(stream, path)
            if kind == "safetensors":
                return safetensors.torch.load_file(path) if content is None else safetensors.torch.load(content)
            stream.seek(0)
            with torch.serialization.safe_globals(ALLOWED), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Detected pickle protocol")  # noise, which the error tells better
                return torch.load(stream, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # what torch's reader raises on damaged files has no common base
        if refused := re.search(r"GLOBAL ((?:\w+\.)*\w+)", str(error)):
            raise UserError(
                f"{path} holds code ({refused[1]}), which is never run here; use a file with tensors only"
            ) from error
        reason = reason_of(error)[:200]
        raise UserError(
            f"{path} cannot be read as a torch or safetensors file ({reason}): it is damaged or holds more than "
            "tensors and plain data; fetch it again"
        ) from error


def _plain(metadata: Mapping[str, object] | None) -> dict[str, object]:
    """`metadata` as it looks after JSON, so that a tuple or a path compares equal after loading."""
    return json.loads(json.dumps(dict(metadata or {}), default=str))


def _differences(there: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
    keys = [key for key in {**here, **there} if key not in FREE]
    return [
        f"{key} is {there.get(key)!r} there, {here.get(key)!r} here" for key in keys if there.get(key) != here.get(key)
    ]
