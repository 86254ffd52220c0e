"""Text in columns, for a terminal."""

from collections.abc import Mapping, Sequence


def aligned(entries: Mapping[str, str]) -> list[str]:
    """`key  text` lines with the texts below each other."""
    width = max(map(len, entries), default=0)
    return [f"{key:{width}}  {text}" for key, text in entries.items()]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
