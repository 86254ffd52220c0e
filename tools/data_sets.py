"""The data sets of common and of all papers."""

from functools import cache

from common.datasets import CARDS
from common.datasets.card import DataSet, cards
from tools.papers import papers


@cache
def data_sets() -> dict[str, DataSet]:
    """{name: card}, those that only one paper reads among them."""
    return cards([place for paper in papers().values() for place in paper.data_sets] + [*CARDS])
