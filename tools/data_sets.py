"""The data sets of common and of all papers."""

from functools import cache
from importlib import import_module

from common.datasets import CARDS
from common.datasets.card import DataSet, cards
from tools.networks import PAPERS


@cache
def data_sets() -> dict[str, DataSet]:
    """{name: card}, those that only one paper reads among them."""
    own = [place for paper in PAPERS for place in getattr(import_module(paper), "DATA_SETS", ())]
    return cards([*own, *CARDS])
