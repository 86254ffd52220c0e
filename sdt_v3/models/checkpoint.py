"""What a weights file says about the network that it belongs to."""

from collections.abc import Mapping

from torch import Tensor

from common.errors import UserError

STAGES = ("downsample1_2", "downsample2", "downsample3", "downsample4")
"""The convolutions that have e0, e1, e2 and e3 rows."""


def settings_of(weights: Mapping[str, Tensor]) -> dict:
    """Keyword arguments for `timm.create_model` that the shapes in a state dict decide.

    Always `embed_dim`; `layer_scale` for the base and DVS families; `rep_ratio` for the large family and the masked
    autoencoder, and `kd` if the distillation head is there.

    Raises:
        UserError: these are not weights of a network of this paper.
    """
    if "downsample1_2.encode_conv.weight" not in weights:
        raise UserError(
            "these weights hold no downsample1_2.encode_conv.weight, so they are not of an SDT V3 network; "
            f"their keys start with {', '.join(list(weights)[:3])}"
        )
    rows = {name: weights[f"{name}.encode_conv.weight"].shape[0] for name in STAGES if has(weights, name)}
    settings: dict = {"embed_dim": tuple(rows.values())}
    if "downsample4" in rows:
        return settings | {"layer_scale": has(weights, "block3.0.layer_scale1")}
    hidden = weights.get("block3.0.rep_conv.conv1.0.weight")
    settings["rep_ratio"] = None if hidden is None else hidden.shape[0] / hidden.shape[1]
    if has(weights, "head_kd."):
        settings["kd"] = True
    return settings


def has(weights: Mapping[str, Tensor], prefix: str) -> bool:
    """Whether any key starts with `prefix`."""
    return any(key.startswith(prefix) for key in weights)
