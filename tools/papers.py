"""The papers of this installation: the packages beside `common` whose `__init__.py` states a card."""

import fnmatch
import importlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

from torch import nn

import common
from common.analysis.energy import EVERYTHING, Formula
from common.ms_resnet import NETWORKS as MS_RESNET
from common.paper import Family, Networks, Paper
from common.predict import Guess, Predictor

ROOTS = [Path(common.__file__).resolve().parents[1]]
"""Folders of packages."""
STATES_A_CARD = re.compile(r"^PAPER = Paper\(", re.MULTILINE)


@cache
def papers() -> dict[str, Paper]:
    """The cards by folder; importing a paper registers its networks with timm."""
    files = [file for root in ROOTS for file in root.glob("*/__init__.py")]
    names = sorted({file.parent.name for file in files if STATES_A_CARD.search(file.read_text(errors="ignore"))})
    return {name: importlib.import_module(name).PAPER for name in names}


def cards() -> dict[str, Networks]:
    """The cards of the papers, and that of the backbone in `common`."""
    return {**papers(), MS_RESNET.name: MS_RESNET}


def folder(card: Networks) -> Path:
    """Where the package lies."""
    return Path(importlib.import_module(card.package).__file__).parent


def card_of(network: str) -> Networks | None:
    """The card of the package that registered a network."""
    import timm

    module = timm.models.model_entrypoint(network).__module__
    return next((card for card in cards().values() if f"{module}.".startswith(f"{card.package}.")), None)


def networks() -> list[str]:
    """The names of all networks that a card is responsible for."""
    import timm

    cards()
    return [name for name in timm.list_models() if card_of(name)]


def family_of(network: str) -> Family:
    """The family of a network."""
    return next(
        family
        for family in card_of(network).families
        if any(fnmatch.fnmatchcase(network, pattern) for pattern in family.patterns.split())
    )


def why_not_exported(network: str, model: nn.Module) -> str:
    """Why what `model` does cannot be written down before its input is known; empty if it can."""
    where = card_of(network).unexportable
    return resolve_name(where)(model) if where else ""


def drawer_of(predictor: Predictor) -> Callable[[str, Path], list[Guess]] | None:
    """What finds and draws objects or regions for a network; None for one that classifies."""
    card = card_of(predictor.model.made_by["model"])
    return resolve_name(card.drawn_by)(predictor) if card and card.drawn_by else None


def formulas() -> dict[str, Formula]:
    """The energy formulas by the name of their paper, and one that counts everything."""
    return {name: paper.energy for name, paper in papers().items() if paper.energy} | {"everything": EVERYTHING}
