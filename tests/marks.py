"""Marks of parametrised tests."""

from collections.abc import Iterable

import pytest


def mostly_slow(values: Iterable, *quick: object) -> list:
    """`values` for a parametrised test, all but the `quick` ones marked slow: they show the same in another place."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]
