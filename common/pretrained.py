"""Weights that `timm.create_model(..., pretrained=True)` loads.

| call                                                                                | where they are             |
|-------------------------------------------------------------------------------------|----------------------------|
| `create_model("local-dir:FOLDER", pretrained=True)`                                 | what `export.py` wrote     |
| `create_model("hf-hub:OWNER/NAME", pretrained=True)`                                | such a folder, on the hub  |
| `create_model(NAME, pretrained=True, pretrained_cfg_overlay={"file": FILE}, ...)`   | a file, or such a folder   |

The paper of the network has to be imported before. Another `num_classes` leaves the head new.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from common.errors import UserError
from common.training.checkpoint import read_weights
from common.training.program import load_but_heads

WEIGHTS = "model.safetensors"
"""Name of the weights in a folder of the Hugging Face hub."""


def load_pretrained(
    model: nn.Module,
    name: str,
    config: object,
    overlay: Mapping[str, object] | None = None,
    cache_dir: str | Path | None = None,
) -> None:
    """Load into `model`, called `name`, the weights of timm's `pretrained_cfg` and the `overlay` over it.

    Raises:
        UserError: they name no weights, or such as do not fit.
    """
    # timm gives its own class for what it was given as a mapping.
    known = {**(config if isinstance(config, Mapping) else vars(config) if config else {}), **(overlay or {})}
    if file := known.get("file"):
        path = Path(file)
        path = path / WEIGHTS if path.is_dir() else path
    elif repository := known.get("hf_hub_id"):
        path = fetched(repository, cache_dir)
    else:
        raise UserError(
            f"{name} ships no weights; say where they are, by pretrained_cfg_overlay={{'file': ...}} or the name "
            "'local-dir:FOLDER', or create it without `pretrained`"
        )
    load_but_heads(model, read_weights(path), path)


def fetched(repository: str, cache_dir: str | Path | None) -> Path:
    """The weights in OWNER/NAME or OWNER/NAME@REVISION on the Hugging Face hub, downloaded once.

    Raises:
        UserError: they cannot be had.
    """
    from huggingface_hub import hf_hub_download

    name, _, revision = repository.partition("@")
    try:
        return Path(hf_hub_download(name, WEIGHTS, revision=revision or None, cache_dir=cache_dir))
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"cannot fetch {WEIGHTS} of {repository} from the hub: {reason}; check name and network"
        ) from error
