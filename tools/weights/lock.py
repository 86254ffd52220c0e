"""The lock file `tools/weights.toml`, typed: what the authors published, and what they did not."""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError

LOCK = Path(__file__).resolve().parent.parent / "weights.toml"
STATUS = ("verified", "unverified", "manual", "unpublished")


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One entry; the head of the lock file says what the fields mean."""

    name: str
    paper: str
    status: str
    model: str | None = None
    create: Mapping[str, object] = field(default_factory=dict)
    choices: Mapping[str, Sequence[object]] = field(default_factory=dict)
    leftovers: Sequence[str] = ()
    drive: str | None = None
    link: str | None = None
    code: str | None = None
    file: str | None = None
    format: str = ""
    note: str = ""
    sha256: str | None = None
    size: int | None = None

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


def read_lock(path: Path | None = None) -> dict[str, Weight]:
    """All entries by name, in the order of the file.

    Raises:
        UserError: the file is damaged or an entry contradicts itself.
    """
    path = path or LOCK
    try:
        papers = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it from the repository") from error
    weights: dict[str, Weight] = {}
    for paper, entries in papers.items():
        for name, row in entries.items():
            if name in weights:
                raise UserError(f"{path}: {name} stands under {weights[name].paper} and {paper}; rename one")
            try:
                weights[name] = Weight(name=name, paper=paper, **row)
            except (TypeError, ValueError) as error:
                raise UserError(f"{path}: {paper}.{name} {error}; mend the entry") from error
    return weights


def find(weights: Mapping[str, Weight], name: str) -> Weight:
    """The entry called `name`.

    Raises:
        UserError: there is none; similar names are offered.
    """
    if name not in weights:
        similar = difflib.get_close_matches(name, weights, n=3)
        hint = f"did you mean {', '.join(similar)}? " if similar else ""
        raise UserError(f"unknown weights {name!r}: {hint}`python tools/fetch_weights.py list` shows all names")
    return weights[name]
