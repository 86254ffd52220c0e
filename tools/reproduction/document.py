"""A document of headings, text, tables and pictures, written as Markdown or as one HTML file."""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the document's."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; words between backticks are code."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG file in the folder of the document."""

    path: Path
    caption: str


Element = Heading | Text | Grid | Picture


def markdown(elements: Iterable[Element]) -> str:
    """The document as Markdown; pictures are links to files beside it."""
    return "\n\n".join(map(_markdown, elements)) + "\n"


def _markdown(element: Element) -> str:
    match element:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Grid(header, rows):
            lines = [header, ["---"] * len(header), *rows]
            return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
        case Picture(path, caption):
            return f"![{caption}]({path.name})"


STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { border: 1px solid #bbb; padding: .2rem .6rem; text-align: left; vertical-align: top; }
th { background: #eee; }
img { max-width: 100%; }
"""


def web_page(elements: Sequence[Element]) -> str:
    """The document as one HTML file that needs no other: the pictures are in it."""
    title = next(element.text for element in elements if isinstance(element, Heading))
    body = "\n".join(map(_html, elements))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html(element: Element) -> str:
    match element:
        case Heading(text, level):
            return f"<h{level}>{_words(text)}</h{level}>"
        case Text(text):
            return f"<p>{_words(text)}</p>"
        case Grid(header, rows):
            return f"<table>\n{_line(header, 'th')}\n" + "\n".join(_line(row, "td") for row in rows) + "\n</table>"
        case Picture(path, caption):
            content = base64.b64encode(path.read_bytes()).decode()
            caption = html.escape(caption)
            return f'<figure><img alt="{caption}" src="data:image/png;base64,{content}"></figure>'


def _line(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{_words(cell)}</{tag}>' for cell in cells)}</tr>"


def _words(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
