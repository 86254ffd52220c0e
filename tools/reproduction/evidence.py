"""What the tests show: fixtures computed by the original code, and the outcome of a test run."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from common.errors import UserError
from tools.reproduction.tables import ROOT, Row

KINDS = {
    "structure": r"keys|structure",
    "data": r"data|dvs_events|hardvs_frames",
    "neurons": r".*(neuron|_lif|_zif|mem_update)",
    "losses, rates, mixing": r"kd|lr|mod_lr|mod_losses|mod_cutmix",
    "blocks and methods": r"",
}
"""{kind of fixture: how the names of its files begin}, the first that fits; networks are told by their content."""
MEANINGS = {
    "parity": "equals recorded outputs and gradients of the original in float64; the commands run on tiny data",
    "runs": "the commands do; of the original a smaller network of the family was recorded, or none",
    "not run": "something is missing that only the authors have",
}


@dataclass(frozen=True)
class Fixture:
    """One file with results of the original code."""

    paper: str
    kind: str
    model: str | None
    """Name of the network, if the fixture is that of a network at its published width and depth."""


@cache
def fixtures() -> tuple[Fixture, ...]:
    """All fixtures in `tests/parity`.

    Raises:
        UserError: there are none.
    """
    files = sorted((ROOT / "tests" / "parity").glob("*/*.npz"))
    if not files:
        raise UserError(f"{ROOT / 'tests' / 'parity'}: no fixtures; run this tool in a clone of the repository")
    return tuple(_fixture(file) for file in files)


def _fixture(file: Path) -> Fixture:
    with np.load(file) as content:
        meta = json.loads(bytes(content["meta"]))
    kind = next(kind for kind, start in KINDS.items() if re.match(start, file.stem))
    if "create" not in meta or kind == "structure":
        return Fixture(file.parent.name, kind, None)
    is_full = not {"embed_dim", "depth", "width"} & meta["create"]["kwargs"].keys()
    return Fixture(file.parent.name, "networks", meta["create"]["model"] if is_full else None)


def status(row: Row) -> str:
    """One of `MEANINGS`; none of them says that an accuracy was reproduced."""
    if row.missing:
        return "not run"
    same_network = row.original is not None and row.model in {fixture.model for fixture in fixtures()}
    return "parity" if same_network else "runs"


def outcomes(junit: Path) -> dict[str, Counter]:
    """{folder of tests: how many passed, failed and were skipped} of the file that `pytest --junit-xml` wrote.

    Raises:
        UserError: it is no such file.
    """
    try:
        cases = list(ElementTree.parse(junit).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"{junit}: cannot be read ({error}); write it with pytest --junit-xml={junit}") from error
    found: dict[str, Counter] = {}
    for case in cases:
        words = case.get("classname", "").split(".")
        outcome = {child.tag for child in case} & {"failure", "error", "skipped"}
        name = "passed" if not outcome else "skipped" if outcome == {"skipped"} else "failed"
        found.setdefault(words[1] if len(words) > 1 else words[0], Counter())[name] += 1
    return found
