"""The card of a data set: where it comes from, how it is prepared, and how to look at what is on disk."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args

from common.conversion.prepare import Prepared
from common.conversion.view import Entry, View
from common.datasets import DATA_SETS

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
    prepare: Callable[[argparse.Namespace], Prepared]
    """Make of `options.source` what the loaders read."""
    views: Callable[[Path], list[View]]
    """What lies in a prepared folder."""
    write_tiny: Callable[..., Path]
    """Write the built-in tiny version to a folder, in the form of `files`, and return the folder."""
    converts: bool = True
    """Whether `prepare` writes something."""
    loader: type | None = None
    """The class that loads it, if it has one of its own."""
    flags: str = ""
    """Flags of `prepare` in the papers' settings, after `--source` and `--output`."""
    terms: str = "see the authors' page"
    expected: Mapping[str, int] = field(default_factory=dict)
    """Published numbers of samples, see `common.conversion.checks.compare_counts`."""
    is_published: Callable[[Sequence[Entry]], bool] = lambda entries: False
    """Whether these samples are (part of) the published set, so that another number of them is a mistake."""
    class_names: tuple[str, ...] = ()
    """What class folders mean that are numbers."""
    official_twins: bool = False
    """Whether the published parts may share pictures, as CIFAR's do (Barz and Denzler 2020, arXiv 1902.00423)."""
    split_seed: int | None = None
    """Of the split of a data set whose authors made none."""

    @property
    def frames(self) -> bool:
        """Whether it is prepared for a number of frames."""
        return self.form == "frames"

    @property
    def home(self) -> str:
        """The first folder of `folder`."""
        return self.folder.partition(";")[0]

    def class_name(self, category: str) -> str:
        """What a class folder means."""
        known = category.isdecimal() and int(category) < len(self.class_names)
        return self.class_names[int(category)] if known else category


def cards(modules: Iterable[str] = DATA_SETS) -> dict[str, DataSet]:
    """{name: card} of the data sets in `modules`, which are imported now: frames first, pictures last."""
    found = [card for module in modules for card in import_module(module).CARDS]
    return {card.name: card for card in sorted(found, key=lambda card: get_args(Form).index(card.form))}


def look(views: Callable[[Path], list[View]], options: argparse.Namespace) -> Prepared:
    """`prepare` of a data set of which nothing has to be made; what is missing is said by its loader."""
    views(options.source)
    return Prepared(options.source, [])
