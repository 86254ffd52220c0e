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
:root { color-scheme: light dark; --line: #bbb; --shade: #eee; --page: #fff; --ink: #111; }
@media (prefers-color-scheme: dark) { :root { --line: #555; --shade: #333; --page: #1b1b1b; --ink: #ddd; } }
body { font: 15px/1.5 sans-serif; max-width: 75rem; margin: 1.5rem auto; padding: 0 1rem; }
body { background: var(--page); color: var(--ink); }
nav { columns: 9rem; margin: 1rem 0; }
nav a { display: block; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
div { overflow: auto; max-height: 90vh; margin: 1rem 0; }
table { border-collapse: separate; border-spacing: 0; border-top: 1px solid var(--line); }
td, th { border: solid var(--line); border-width: 0 1px 1px 0; padding: .2rem .6rem; max-width: 28rem; }
td, th { background: var(--page); text-align: left; vertical-align: top; }
td:first-child, th:first-child { border-left-width: 1px; }
th { background: var(--shade); position: sticky; top: 0; z-index: 1; }
.number { text-align: right; white-space: nowrap; }
figure { margin: 1.5rem 0; }
figcaption { font-size: .9em; }
img { max-width: 100%; background: #fff; }
@media (max-width: 40rem) {
  body { font-size: 14px; }
  td, th { padding: .2rem .4rem; max-width: 12rem; }
  .wide td { min-width: 3.5rem; }
  .wide td:first-child { position: sticky; left: 0; min-width: 5.5rem; max-width: 7rem; }
}
"""
WIDE = 4
"""Columns from which a phone shows a part of a table, its first column always."""


def web_page(elements: Sequence[Element]) -> str:
    """The document as one HTML file that needs no other: the pictures are in it, and links to its parts."""
    title = next(element.text for element in elements if isinstance(element, Heading))
    parts = [element.text for element in elements if isinstance(element, Heading) and element.level == 2]
    links = "\n".join(f'<a href="#{_anchor(part)}">{_words(part)}</a>' for part in parts)
    first, *rest = map(_html, elements)
    body = "\n".join((first, f"<nav>\n{links}\n</nav>", *rest))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _html(element: Element) -> str:
    match element:
        case Heading(text, level):
            return f'<h{level} id="{_anchor(text)}">{_words(text)}</h{level}>'
        case Text(text):
            return f"<p>{_words(text)}</p>"
        case Grid(header, rows):
            lines = "\n".join((_line(header, "th"), *(_line(row, "td") for row in rows)))
            return f"<div{' class=wide' * (len(header) >= WIDE)}><table>\n{lines}\n</table></div>"
        case Picture(path, caption):
            content = base64.b64encode(path.read_bytes()).decode()
            caption = html.escape(caption)
            picture = f'<img alt="{caption}" src="data:image/png;base64,{content}">'
            return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _line(cells: Iterable[str], tag: str) -> str:
    def cell(text: str) -> str:
        kind = " class=number" if tag == "td" and re.fullmatch(r"[-+]?[\d.,]+( [%M]| ± [\d.]+)?", text) else ""
        breakable = re.sub(r"(?<=[._])(?=[a-z])", "<wbr>", _words(text))
        return f"<{tag}{kind}>{breakable}</{tag}>"

    return f"<tr>{''.join(map(cell, cells))}</tr>"


def _words(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
