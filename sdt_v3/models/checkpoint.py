"""What a weights file says about the network that it belongs to."""

from collections.abc import Mapping

from torch import Tensor, nn

from common.errors import UserError

STAGES = ("downsample1_2", "downsample2", "downsample3", "downsample4")
"""The convolutions that have e0, e1, e2 and e3 rows."""
PRETRAINING_ONLY = ("pos_embed", "mask_token", "norm.", "decoder_")
"""What only the masked autoencoder has."""
HEADS = ("head.", "head_kd.")


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


def completed(weights: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """A state dict for fine-tuning `model` from `weights`, and the keys in it that start anew.

    The autoencoder's decoder goes, and so does a distillation head that `model` has not. Heads for other classes and
    missing heads or layer scales come from `model` as it is; whatever else differs is left for the loader to refuse.
    """
    own = model.state_dict()
    state = {
        key: value
        for key, value in weights.items()
        if not key.startswith(PRETRAINING_ONLY) and (key in own or not key.startswith("head_kd."))
    }
    anew = [
        key
        for key, value in own.items()
        if (key.startswith(HEADS) and (key not in state or state[key].shape != value.shape))
        or (".layer_scale" in key and key not in state)
    ]
    return state | {key: own[key] for key in anew}, anew
