"""Any network of this repository by its timm name."""

import ast
import importlib
from collections.abc import Sequence

import timm
from torch import nn

from common.errors import UserError

PAPERS = ("sma", "ma_snn", "gac", "spikingformer", "sdt_v3")


def register_all() -> None:
    """Import every paper, which registers its networks with timm."""
    for paper in PAPERS:
        importlib.import_module(paper)


def paper_of(name: str) -> str:
    """The folder of the paper that a registered network belongs to."""
    return timm.models.model_entrypoint(name).__module__.partition(".")[0]


def build(name: str, arguments: Sequence[str] = ()) -> nn.Module:
    """`timm.create_model(name)` with KEY=VALUE arguments; a VALUE that is no Python literal is text.

    Raises:
        UserError: unknown network, or arguments that it refuses.
    """
    register_all()
    if not timm.is_model(name) or paper_of(name) not in (*PAPERS, "common"):  # the plain MS-ResNets are in common
        papers = ", ".join(PAPERS)
        raise UserError(f"unknown network {name!r}; `timm.list_models()` after importing one of {papers} lists them")
    parsed = dict(map(key_value, arguments))
    try:
        return timm.create_model(name, **parsed)
    except (TypeError, ValueError) as error:
        raise UserError(f"cannot build {name}: {error}") from error


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
