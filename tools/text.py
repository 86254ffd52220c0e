"""Text in columns, for a terminal, and names from it."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence

from common.errors import nearest


def aligned(entries: Mapping[str, str]) -> list[str]:
    """`key  text` lines with the texts below each other."""
    width = max(map(len, entries), default=0)
    return [f"{key:{width}}  {text}" for key, text in entries.items()]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def one_of(names: Iterable[str]) -> Callable[[str], str]:
    """The `type` of an argument that is one of many `names`; another is answered with those most like it."""
    known = list(names)

    def name(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(
                f"unknown name {text!r}: {nearest(text, known)}there are {', '.join(known)}"
            )
        return text

    return name
