"""Any network of this repository by its timm name."""

import ast
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from common.errors import UserError, nearest
from common.training import load_weights
from common.weights import card_facts, locate
from tools.papers import networks, papers


def build(name: str, arguments: Sequence[str] = ()) -> nn.Module:
    """`timm.create_model(name)` with KEY=VALUE arguments; a VALUE that is no Python literal is text.

    Raises:
        UserError: unknown network, or arguments that it refuses.
    """
    import timm

    known = networks()
    if name not in known:
        raise UserError(
            f"unknown network {name!r}: {nearest(name, known)}`timm.list_models()` after importing one of "
            f"{', '.join(papers())} lists them"
        )
    parsed = dict(map(key_value, arguments))
    try:
        return timm.create_model(name, **parsed)
    except (TypeError, ValueError) as error:
        raise UserError(f"cannot build {name}: {error}") from error


def trained(name: str, arguments: Sequence[str], weights: str | Path | None) -> nn.Module:
    """`build` in evaluation mode with `weights` in it; what `arguments` leave out is as the card of the weights says.

    Without weights they are random, which is said.

    Raises:
        UserError: see `build` and `load_weights`.
    """
    if not weights:
        print("warning: random weights, with which few neurons fire; give those of a trained network by --weights")
        return build(name, arguments).eval()
    card = card_facts(locate(weights))
    known = card.get("create", {}) if card.get("model") == name else {}
    model = build(name, [*(f"{key}={value!r}" for key, value in known.items()), *arguments]).eval()
    load_weights(model, weights)
    return model


def number_of_classes(model: nn.Module) -> int:
    """The classes that a network tells apart: as it says, or else the outputs of its last linear layer."""
    last = [module.out_features for module in model.modules() if isinstance(module, nn.Linear)][-1:]
    return getattr(model, "num_classes", *last)


def key_value(argument: str) -> tuple[str, object]:
    """("T", 4) of the text "T=4".

    Raises:
        UserError: there is no "=".
    """
    key, separator, value = argument.partition("=")
    if not separator:
        raise UserError(f"{argument!r}: expected KEY=VALUE")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value
