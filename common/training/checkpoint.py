"""Files of weights and checkpoints: written whole or not at all, read without ever running what is in them."""

import argparse
import io
import json
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from common.errors import UserError
from common.files import atomic_path
from common.weights import locate, write_card

FORMAT = "spiking-papers checkpoint"
VERSION = 1

# What published checkpoints hold beside tensors. NumPy 1 wrote its scalars under the second name.
_SCALAR = np._core.multiarray.scalar
_HARMLESS = [
    argparse.Namespace,
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")),
]
# All that torch's reader was seen to raise on damaged or foreign files.
_UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, AttributeError, LookupError,
    AssertionError, OverflowError, ImportError, struct.error, SafetensorError,
)  # fmt: skip


def save_file(path: str | Path, content: object, model: nn.Module | None = None) -> None:
    """`torch.save` that leaves the old file or the new one, never half of one; with the card of its `model`.

    Raises:
        UserError: the folder cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(content, stream)
    if model is not None:
        write_card(Path(path), model)


def save_checkpoint(
    path: str | Path, content: Mapping[str, object], metadata: Mapping[str, object] | None = None
) -> None:
    """Write `content` with the format version and `metadata`, the facts that a resumed run has to share."""
    save_file(path, {"format": FORMAT, "version": VERSION, "metadata": _plain(metadata), **content})


def load_checkpoint(path: str | Path, metadata: Mapping[str, object] | None = None) -> dict[str, object]:
    """Read what `save_checkpoint` wrote, on the CPU; compare its metadata, all but "args", with `metadata` if given.

    Raises:
        UserError: the file is missing, damaged, no checkpoint of this project, of a newer format, or of another run.
    """
    content = read_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a training checkpoint of this project; give plain weights with --weights")
    if content["version"] > VERSION:
        raise UserError(
            f"{path} has checkpoint format {content['version']}, this installation reads up to {VERSION}; update it"
        )
    if metadata is not None and (differences := _differences(content["metadata"], _plain(metadata))):
        raise UserError(
            f"{path} belongs to another run: {'; '.join(differences)}; resume with the settings of the checkpoint"
        )
    return content


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load the weights that `read_weights` finds by a path or a name into `model`, every key or none.

    Raises:
        UserError: the file is missing, damaged or holds something else, or its weights do not fit `model`.
    """
    load_state(model, read_weights(path), path)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU; `path` may be the name of weights in the store of `common.weights`.

    Raises:
        UserError: the file is missing, damaged or holds something else.
    """
    return state_of(read_file(locate(path)), path)


def state_of(state: object, path: str | Path) -> dict[str, Tensor]:
    """The state dict in what `read_file` returned for `path`.

    It may be bare or under "model", "state_dict" or "net", with or without the `module.` that a parallel wrapper puts
    before every key.

    Raises:
        UserError: there is none.
    """
    for wrapper in ("model", "state_dict", "net"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
            break
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        raise UserError(f"{path} holds no weights; expected a state dict, bare or under model, state_dict or net")
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load a state dict that came from `path`, every key or none; see `load_weights`."""
    own = model.state_dict()
    shapes = {key: (tuple(state[key].shape), tuple(own[key].shape)) for key in own.keys() & state.keys()}
    problems = [
        _listing("missing", [key for key in own if key not in state]),
        _listing("unexpected", [key for key in state if key not in own]),
        _listing(
            "of another shape",
            [f"{key} {shapes[key][0]} for {shapes[key][1]}" for key in own if len(set(shapes.get(key, ()))) > 1],
        ),
    ]
    if problems := [problem for problem in problems if problem]:
        raise UserError(
            f"the weights in {path} do not fit {type(model).__name__}: {'; '.join(problems)}; "
            "choose the model and the number of classes that they were trained with"
        )
    model.load_state_dict(state)


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
    if content is None and not path.is_file():
        raise UserError(f"there is no file {path}; check the path, or start a new run without --resume or --weights")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path) if content is None else safetensors.torch.load(content)
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # noise bytes, which the error tells better
            source = path if content is None else io.BytesIO(content)
            return torch.load(source, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        if refused := re.search(r"GLOBAL ((?:\w+\.)*\w+)", str(error)):
            raise UserError(
                f"{path} holds code ({refused[1]}), which is never run here; use a file with tensors only"
            ) from error
        raise UserError(
            f"{path} cannot be read as a torch or safetensors file: it is damaged or of another kind; fetch it again"
        ) from error


def _plain(metadata: Mapping[str, object] | None) -> dict[str, object]:
    """`metadata` as it looks after JSON, so that a tuple or a path compares equal after loading."""
    return json.loads(json.dumps(dict(metadata or {}), default=str))


def _differences(there: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
    keys = [key for key in {**here, **there} if key != "args"]
    return [
        f"{key} is {there.get(key)!r} there, {here.get(key)!r} here" for key in keys if there.get(key) != here.get(key)
    ]
