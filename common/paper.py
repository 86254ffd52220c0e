"""The card of a paper: what the tools need to know of it, stated as `PAPER` in its `__init__.py`."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.analysis.energy import Formula


@dataclass(frozen=True, kw_only=True)
class Article:
    """A publication, as CITATION.cff lists it."""

    title: str
    authors: tuple[str, ...]
    """`Family name` or `Family name, given names`."""
    year: int
    journal: str = ""
    volume: int | None = None
    issue: int | None = None
    start: int | None = None
    """First page."""
    end: int | None = None
    """Last page."""
    doi: str = ""
    url: str = ""


@dataclass(frozen=True)
class Family:
    """Networks that one set of arguments makes small."""

    patterns: str
    """Of their names, as `timm.list_models` takes them, with spaces between."""
    example: str
    """The one that tests look at closely."""
    small: Mapping[str, object]
    """Arguments with which each is built and run in a moment; the example then takes 32 x 32 pixels."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What the tools need to know of the networks of a package. `module:name` is imported when it is asked for."""

    package: str
    families: tuple[Family, ...]
    """All networks; the first that a name fits counts."""
    energy: Formula | None = None
    """What of an inference counts, and what it costs."""
    attention_readers: str = ""
    """`module:name` of {class of attention modules: what draws them}, see `common.analysis.attention_maps`."""
    unexportable: str = ""
    """`module:name` of a function that says why a network cannot be exported, "" if it can."""
    drawn_by: str = ""
    """`module:name` of a function from a `Predictor` to what finds and draws, None for networks that classify."""
    settings_of: str = ""
    """`module:name` of a function from a state dict to the arguments of the network that its shapes decide."""

    @property
    def name(self) -> str:
        """The package without those that it lies in."""
        return self.package.rpartition(".")[2]


@dataclass(frozen=True, kw_only=True)
class Paper(Networks):
    """A paper, or two that share a folder, which is their package."""

    title: str
    """With the venue and the year, as README.md has it."""
    articles: tuple[Article, ...]
    reference: str
    """In short, as THIRD_PARTY.md has it."""
    code: str
    """Where the original is."""
    licence: str
    """Of the original."""
    data: str
    """Data sets, for people."""
    example: str
    """A command that shows it at work in minutes."""
    data_sets: tuple[str, ...] = ()
    """`module:name` of the cards of data sets that only this paper reads."""
