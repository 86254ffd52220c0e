"""Reading weights files of unknown origin, and writing our own: safetensors with a JSON card beside it."""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from common import archives
from common.errors import UserError
from common.files import atomic_path, make_folder, sha256
from common.training.checkpoint import read_file, state_of
from common.training.contents import kind_of
from common.weights import card_file, check_is_file

SUFFIXES = (".pth", ".pt", ".t7", ".pth.tar", ".ckpt", ".bin", ".safetensors")
"""Endings that weights have inside an archive."""
SAFE_TORCH = (2, 10)
"""Older versions can be made to run code in spite of `weights_only=True` (CVE-2025-32434, CVE-2026-24747)."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What `NAME.json` tells about `NAME.safetensors`: the network it fits and the file it came from."""

    name: str
    paper: str
    model: str
    create: Mapping[str, object]
    tensors: int
    sha256: str
    size: int
    source: str
    source_file: str
    source_sha256: str
    source_size: int
    imported: str
    classes: Sequence[str] = ()
    """Names of the outputs; empty if not known."""
    reading: Mapping[str, object] | None = None
    """How the input was made, see `common.weights`."""


def read_original(path: Path) -> tuple[bytes, str]:
    """All of a file and its hexadecimal SHA-256, so that what is hashed is what is loaded.

    Raises:
        UserError: there is no such file.
    """
    check_is_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give the path of the downloaded file") from error
    return content, hashlib.sha256(content).hexdigest()


def read_foreign(path: Path, content: bytes, scratch: Path) -> dict[str, Tensor]:
    """The state dict in `content`, the bytes of `path`: a weights file, or an archive that holds one.

    Args:
        path: tells the format by its ending and stands in messages.
        content: what `read_original` returned.
        scratch: folder for a moment's unpacking.

    Raises:
        UserError: no weights, a web page, code in the file, an archive that is unsafe or holds several files, or a
            version of torch that is unsafe for foreign files.
    """
    if is_archive(path):
        make_folder(scratch)
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpack-") as folder:
            member = sole_member(archives.extract(path, Path(folder) / "all", suffixes=SUFFIXES), path)
            if hashlib.sha256(content).hexdigest() != sha256(path):
                raise UserError(f"{path} changed while it was read; try again")
            return read_foreign(member, member.read_bytes(), scratch)
    if kind_of(io.BytesIO(content), path) == "torch" and TorchVersion(torch.__version__) < SAFE_TORCH:
        raise UserError(
            f"{path} was pickled by someone else, which torch {torch.__version__} cannot read safely "
            "(CVE-2026-24747); run pip install 'torch>=2.10'"
        )
    return state_of(read_file(path, content), path)


def is_archive(path: Path) -> bool:
    """Whether this is a zip or tar archive; a torch file, whatever its name, is not one though it is zipped."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as bundle:
            return not any(name.endswith("/data.pkl") for name in bundle.namelist())
    return archives.is_tar(path)


def sole_member(folder: Path, archive: Path) -> Path:
    """The one file in the unpacked `folder`."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise UserError(
            f"{archive}: expected one weights file ({', '.join(SUFFIXES)}), found {names}; unpack it and import the "
            "right one"
        )
    return found[0]


def write_weights(path: Path, state: Mapping[str, Tensor], **facts: object) -> Card:
    """Write a state dict as `path`, exactly, and its card, filled with `facts`, beside it; both or neither.

    Tensors that share memory are written once per name, as safetensors wants it.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    tensors = separate(state)
    content = safetensors.torch.save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    card = Card(tensors=len(tensors), sha256=digest, size=len(content), **facts)
    with atomic_path(card_file(path)) as card_half, atomic_path(path) as half:
        card_half.write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
        half.write_bytes(content)
    return card


def separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors each in memory of its own, as safetensors wants it."""
    return {key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in state.items()}


def read_card(path: Path) -> Card:
    """The card of the weights file `path`.

    Raises:
        UserError: it is missing or damaged.
    """
    card = card_file(path)
    try:
        return Card(**json.loads(card.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{card} is missing or damaged ({error}); remove it, then fetch or import {path.stem} again"
        ) from error
