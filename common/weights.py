"""Where weights are kept, how a name finds its file there, and the card beside it: `NAME.json`.

A card says by what call of timm the network is built ("model", "create") and, where a script of this repository has
trained it, what its outputs are called ("classes") and how its input was made ("reading", the fields of
`common.analysis.samples.Reading`).
"""

import json
from pathlib import Path

import torch
from torch import nn

from common.errors import UserError, nearest
from common.files import atomic_path


def store_folder() -> Path:
    """`spiking-papers` in torch's own folder for downloads, which the variable TORCH_HOME moves to another disk."""
    return Path(torch.hub.get_dir()) / "spiking-papers"


def weights_file(name: str) -> Path:
    """Where the weights called `name` are, or would be."""
    return store_folder() / f"{name}.safetensors"


def check_is_file(path: Path) -> None:
    """Refuse a folder.

    Raises:
        UserError: `path` is one.
    """
    if path.is_dir():
        what = "a checkpoint that was unpacked" if any(path.rglob("data.pkl")) else "not a file of weights"
        raise UserError(f"{path} is a folder, {what}; fetch the file and do not unpack it, or give the file in it")


def locate(name_or_path: str | Path) -> Path:
    """The file that `--weights` means: an existing file is itself, anything else a name in the store.

    Raises:
        UserError: there is neither.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    stored = weights_file(path.name) if len(path.parts) == 1 else None
    if stored is not None and stored.is_file():
        return stored
    if path.parts:  # "" is the folder "."
        check_is_file(path)
    if stored is None:
        raise UserError(
            f"there is no file {path}; check the path, or give a name that `python tools/fetch_weights.py list` shows"
        )
    names = [file.stem for file in store_folder().glob("*.safetensors")]
    raise UserError(
        f"there is no file {path} and no {stored}: {nearest(path.name, names)}check the path, or get published "
        f"weights by `python tools/fetch_weights.py fetch {path}`"
    )


def card_file(path: Path) -> Path:
    """Where the card of a weights file is."""
    return path.with_suffix(".json")


def write_card(path: Path, model: nn.Module) -> None:
    """Write the card of the weights file `path`, if `common.training.describe` has described their network."""
    if facts := getattr(model, "card", None):
        with atomic_path(card_file(path)) as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def card_facts(path: Path) -> dict[str, object]:
    """What the card of a weights file says; empty without a card.

    Raises:
        UserError: it is damaged.
    """
    card = card_file(path)
    if not card.is_file():
        return {}
    try:
        facts = json.loads(card.read_text(encoding="utf-8"))
        return {key: facts[key] for key in ("model", "create", "classes", "reading") if facts.get(key)}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{card} is damaged ({error}); remove it and say by flags what it said") from error
