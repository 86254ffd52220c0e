"""Whether weights are those of a network: every key and every shape."""

from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name

import torch
from torch import Tensor

from common.errors import UserError
from tools.networks import build
from tools.papers import card_of
from tools.weights.lock import Weight

SHOWN = 20
"""Lines of a difference that are printed."""


def shapes_of(model: str, create: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of `timm.create_model(model, **create)`, without memory for its numbers.

    Raises:
        UserError: there is no such network.
    """
    with torch.device("meta"):
        network = build(model, [f"{key}={value!r}" for key, value in create.items()])
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def arguments_of(weight: Weight, state: Mapping[str, Tensor]) -> dict[str, object]:
    """`weight.create`, and of `weight.choices` what the shapes in `state` say."""
    if not weight.choices:
        return dict(weight.create)
    try:
        found = resolve_name(card_of(weight.model).settings_of)(state)
    except UserError:  # another network altogether: `check_fit` will list how it differs
        return dict(weight.create)
    found = {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
    return weight.create | {key: found[key] for key, allowed in weight.choices.items() if found.get(key) in allowed}


def check_fit(state: Mapping[str, Tensor], model: str, create: Mapping[str, object], path: Path) -> None:
    """Compare keys and shapes; print what differs.

    Raises:
        UserError: something does.
    """
    expected = shapes_of(model, create)
    found = {key: tuple(value.shape) for key, value in state.items()}
    uncounted = [key for key in expected if key.endswith("num_batches_tracked")]  # old torch did not store it
    lines = [
        *(
            f"missing     {key} {list(shape)}"
            for key, shape in expected.items()
            if key not in found and key not in uncounted
        ),
        *(f"unexpected  {key} {list(shape)}" for key, shape in found.items() if key not in expected),
        *(
            f"shape       {key} {list(found[key])}, the network has {list(shape)}"
            for key, shape in expected.items()
            if found.get(key, shape) != shape
        ),
    ]
    if not lines:
        return
    print("\n".join(lines[:SHOWN]))
    if len(lines) > SHOWN:
        print(f"and {len(lines) - SHOWN} more")
    arguments = ", ".join(f"{key}={value}" for key, value in create.items())
    raise UserError(
        f"{path} does not fit {model}({arguments}): {len(lines)} differences of {len(expected)} tensors, shown above; "
        "it belongs to another network or other arguments"
    )
