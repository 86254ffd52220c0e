"""The card of a data set: where it comes from, how it is prepared, and how to look at what is on disk."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Literal, Self, get_args

from common.conversion.prepare import Prepared
from common.conversion.view import Entry, View
from common.datasets import CARDS

Form = Literal["frames", "events", "clips", "pictures"]


@dataclass(frozen=True)
class DataSet:
    """What programs need to know of one data set."""

    name: str
    title: str
    papers: str
    form: Form
    """What is kept of a sample: a number of event frames, events, rendered frames, or a picture."""
    files: str
    """What to fetch."""
    url: str
    folder: str
    """Where the papers' scripts look for it unless told otherwise."""
    split: str
    """Who divided it, and how."""
    views: Callable[[Path], list[View]]
    """What lies in a prepared folder."""
    convert: Callable[[argparse.Namespace], Prepared] | None = None
    """Make of `options.source` what the loader reads; None where that is what was published."""
    is_ready: Callable[[Path], bool] = lambda source: False
    """Whether a source needs no `convert`: it is laid out as the loaders expect."""
    shard: Callable[[Path, Path, int], None] | None = None
    """Write what lies in one folder as tar files of so many samples to another, see `common.datasets.shards`."""
    write_tiny: Callable[..., Path] | None = None
    """Write a built-in tiny version to a folder, as its authors would have published it, and return the folder."""
    loader: type | None = None
    """The class that loads it, if there is one of its own."""
    flags: str = ""
    """Flags of its conversion in the papers' settings, after `--source` and `--output`."""
    terms: str = "see the authors' page"
    expected: Mapping[str, int] = field(default_factory=dict)
    """Published numbers of samples, see `tools.data_checks.compare_counts`."""
    is_published: Callable[[Sequence[Entry]], bool] = lambda entries: False
    """Whether these samples are (part of) the published set, so that another number of them is a mistake."""
    class_names: tuple[str, ...] = ()
    """What class folders mean that are numbers."""
    official_twins: bool = False
    """Whether the published parts may share pictures, as CIFAR's do (Barz and Denzler 2020, arXiv 1902.00423)."""
    split_seed: int | None = None
    """Of the split of a data set whose authors made none."""

    @classmethod
    def of(cls, loader: type, **facts: object) -> Self:
        """The card of a data set with a class, which has its name and URL, and `facts` that are not in the class."""
        return cls(name=loader.name, url=loader.url, loader=loader, **facts)

    @property
    def frames(self) -> bool:
        """Whether it is prepared for a number of frames."""
        return self.form == "frames"

    @property
    def home(self) -> str:
        """The first folder of `folder`."""
        return self.folder.partition(";")[0]

    def converts(self, source: Path) -> bool:
        """Whether `prepare` makes something else of `source`."""
        return self.convert is not None and not self.is_ready(source)

    def prepare(self, options: argparse.Namespace) -> Prepared:
        """Make `options.source` ready for the loader; what is missing raises the error that its loader would."""
        if self.converts(options.source):
            return self.convert(options)
        self.views(options.source)
        return Prepared(options.source, [])

    def class_name(self, category: str) -> str:
        """What a class folder means."""
        return meaning(category, self.class_names)


def meaning(category: str, names: Sequence[str]) -> str:
    """What a class folder means that is the number of a name; another one means itself."""
    return names[int(category)] if category.isdecimal() and int(category) < len(names) else category


def cards(places: Iterable[str] = CARDS) -> dict[str, DataSet]:
    """{name: card} of the cards at `places`, "module:NAME" each, imported now: frames first, pictures last."""
    found = sorted(map(resolve_name, places), key=lambda card: get_args(Form).index(card.form))
    return {card.name: card for card in found}
