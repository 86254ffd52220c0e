"""Where downloaded and imported weights are kept, and how a name finds its file there."""

from pathlib import Path

import torch

from common.errors import UserError, nearest


def store_folder() -> Path:
    """`spiking-papers` in torch's own folder for downloads, which the variable TORCH_HOME moves to another disk."""
    return Path(torch.hub.get_dir()) / "spiking-papers"


def weights_file(name: str) -> Path:
    """Where the weights called `name` are, or would be."""
    return store_folder() / f"{name}.safetensors"


def locate(name_or_path: str | Path) -> Path:
    """The file that `--weights` means: an existing file is itself, anything else a name in the store.

    Raises:
        UserError: there is neither.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if len(path.parts) != 1:
        raise UserError(
            f"there is no file {path}; check the path, or give a name that `python tools/fetch_weights.py list` shows"
        )
    stored = weights_file(path.name)
    if stored.is_file():
        return stored
    names = [file.stem for file in store_folder().glob("*.safetensors")]
    raise UserError(
        f"there is no file {path} and no {stored}: {nearest(path.name, names)}check the path, or get published "
        f"weights by `python tools/fetch_weights.py fetch {path}`"
    )
