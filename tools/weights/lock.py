"""The lock files `<paper>/weights.toml`, typed: every weights file that the authors published, and every network of
their tables whose weights they did not publish.

An entry is `[paper.NAME]`, where NAME is what `fetch`, `import` and `--weights` take.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError, nearest
from tools.papers import cards, folder

STATUS = ("verified", "unverified", "manual", "unpublished")


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One entry."""

    name: str
    paper: str
    status: str
    """verified: the sha256 below is known; unverified: it is not; manual: a person has to download it; unpublished:
    there is no file."""
    model: str | None = None
    """`timm.create_model(model, **create)` is the network of the file; without a model it cannot be checked."""
    create: Mapping[str, object] = field(default_factory=dict)
    choices: Mapping[str, Sequence[object]] = field(default_factory=dict)
    """Arguments for which the file decides, and the values that they may take."""
    leftovers: Sequence[str] = ()
    """Beginnings of keys that the authors' loader ignored: dropped if the network has no such key."""
    drive: str | None = None
    """Id of the file on Google Drive."""
    link: str | None = None
    """Page to open in a browser."""
    code: str | None = None
    """That the page asks for."""
    file: str | None = None
    """Expected name; as the format, it is what the authors' code says: no file was opened to write the entries."""
    format: str = ""
    """Expected content."""
    note: str = ""
    sha256: str | None = None
    """Of the published file; none is known yet: the first import records what it finds in the store."""
    size: int | None = None
    """Of the published file, in bytes."""

    def __post_init__(self):
        if self.drive and self.link:
            raise ValueError("has both drive and link; one source is enough")
        if self.status != self.expected_status:
            raise ValueError(f"has status {self.status!r}, its source and sha256 make it {self.expected_status!r}")
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"has sha256 {self.sha256!r}, expected 64 lower-case hexadecimal digits")
        if not re.fullmatch(r"[A-Za-z0-9_]+", self.name):
            raise ValueError("needs a name of letters, digits and _")

    @property
    def expected_status(self) -> str:
        """What follows from the source and from whether its hash is known."""
        if not self.drive and not self.link:
            return "unpublished"
        if self.sha256:
            return "verified"
        return "unverified" if self.drive else "manual"

    @property
    def source(self) -> str:
        """Where the file is, for people."""
        if self.drive:
            return f"https://drive.google.com/file/d/{self.drive}/view"
        return " ".join(filter(None, (self.link, self.code and f"code {self.code}"))) or "none"


def lock_files() -> list[Path]:
    """Those of the papers that have one."""
    files = (folder(card) / "weights.toml" for card in cards().values())
    return [file for file in files if file.is_file()]


def read_lock() -> dict[str, Weight]:
    """All entries by name, in the order of the files.

    Raises:
        UserError: a file is damaged or an entry contradicts itself or another.
    """
    weights: dict[str, Weight] = {}
    for path in lock_files():
        for weight in _entries(path):
            if weight.name in weights:
                papers = f"{weights[weight.name].paper} and {weight.paper}"
                raise UserError(f"{path}: {weight.name} stands under {papers}; rename one")
            weights[weight.name] = weight
    return weights


def _entries(path: Path) -> Iterator[Weight]:
    try:
        papers = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it from the repository") from error
    for paper, entries in papers.items():
        for name, row in entries.items():
            try:
                yield Weight(name=name, paper=paper, **row)
            except (TypeError, ValueError) as error:
                raise UserError(f"{path}: {paper}.{name} {error}; mend the entry") from error


def find(weights: Mapping[str, Weight], name: str) -> Weight:
    """The entry called `name`.

    Raises:
        UserError: there is none; similar names are offered.
    """
    if name not in weights:
        hint = nearest(name, weights)
        raise UserError(f"unknown weights {name!r}: {hint}`python tools/fetch_weights.py list` shows all names")
    return weights[name]
