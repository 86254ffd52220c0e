"""The published tables in `tools/tables`: what was reported, by which network, and the commands that train it."""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from common.errors import UserError, nearest
from tools.papers import papers

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tools" / "tables"


@dataclass(frozen=True)
class Step:
    """One training command; the flags for data, output and seed are not in it."""

    script: str
    """Path from the root of the repository, or `-m MODULE`."""
    arguments: str = ""
    gpus: int = 1
    """Processes of the published run; 0: not stated."""
    one_gpu: str = ""
    """What one process needs beside `arguments` to see the batch of all published ones."""
    folder: str = ""
    """Below the folder of the run, if a run has several steps."""


@dataclass(frozen=True)
class Row:
    """One published result, or one network that the authors published code for."""

    network: str
    model: str
    steps: tuple[Step, ...]
    epochs: int
    method: str = ""
    create: dict[str, object] = field(default_factory=dict)
    """Arguments of `timm.create_model`."""
    accuracy: float | None = None
    """Published, in percent."""
    spread: float | None = None
    """Its standard deviation over the authors' runs."""
    source: str = ""
    """Where `accuracy` was read."""
    remark: str = ""
    """What else is known of it."""
    rate: float | None = None
    """Published mean firing rate of the network."""
    rate_source: str = ""
    energy: float | None = None
    """Published energy of one inference in mJ."""
    energy_source: str = ""
    test: str = ""
    """What the evaluation has beside the arguments of training."""
    parameters: float | None = None
    """Published, in millions."""
    original: int | None = None
    """Parameters of the authors' code, or of their log."""
    weights: str = ""
    """Name of the published weights in the weights.toml of the paper."""
    curve: str = ""
    """Name of the published run in `spikingformer.published.curves()`."""
    gpu_hours: float | None = None
    gpu_hours_source: str = ""
    missing: str = ""
    """What the commands need that nobody but the authors has."""
    measured: bool = False
    """Whether the report runs the network to see which layers get real numbers."""

    @property
    def title(self) -> str:
        """Network and method."""
        return ", ".join(filter(None, (self.network, self.method)))

    @property
    def name(self) -> str:
        """The title as the name of a folder."""
        return re.sub(r"[^a-z0-9.]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Table:
    """Rows that share a data set and a recipe."""

    name: str
    paper: str
    title: str
    reference: str
    """Where the figures were published."""
    notes: str
    """Where the README says what differs from the paper."""
    data: str
    """Key of `tools.data_sets.data_sets`."""
    recipe: str
    best: str
    """Pattern of the best weights in the folder of a run."""
    selection: str
    """Which epoch `best` and the published figures are of."""
    rows: tuple[Row, ...]
    seed: int = 0
    differs: tuple[str, ...] = ()


@cache
def tables() -> dict[str, Table]:
    """All tables by name, such as `gac.cifar100`."""
    found = {}
    for paper in papers():
        content = _read(paper)
        for key, fields in content.pop("tables").items():
            name = f"{paper}.{key}"
            try:
                found[name] = _table(content, fields | {"name": name, "paper": paper})
            except (TypeError, KeyError) as error:
                raise UserError(f"{FOLDER / paper}.toml: {key}: {error!r}; see the fields of Table and Row") from error
    return found


def table(name: str) -> Table:
    """One table.

    Raises:
        UserError: there is none of that name.
    """
    if name not in tables():
        raise UserError(
            f"there is no table {name!r}: {nearest(name, tables())}`python tools/reproduce.py list` names them all"
        )
    return tables()[name]


@cache
def paper_titles() -> dict[str, str]:
    """The papers as a person calls them, by folder."""
    return {paper: _read(paper)["title"] for paper in papers()}


@cache
def claims() -> dict[str, list[dict[str, str]]]:
    """`established` and `open`: claims, and how or why."""
    return _read("claims")


def _read(name: str) -> dict:
    path = FOLDER / f"{name}.toml"
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it from the repository") from error


STEP = ("script", "arguments", "gpus", "one_gpu")
"""Fields of a step that a table gives for all its rows; the arguments of a row are added to those of its table."""


def _table(paper: dict, fields: dict) -> Table:
    shared = {key: fields.pop(key) for key in (*STEP, "epochs") if key in fields}
    rows = [_row(shared, one) for row in fields.pop("rows") for one in _each(row)]
    fields["differs"] = tuple(fields.pop("differs", ()))
    return Table(rows=tuple(rows), **{key: paper[key] for key in ("reference", "notes")} | fields)


def _row(shared: dict, row: dict) -> Row:
    fields = {"epochs": shared["epochs"]} | row
    steps = fields.pop("steps", None)
    step = {key: fields.pop(key) for key in STEP if key in fields}
    if steps is None:
        both = f"{shared.get('arguments', '')} {step.get('arguments', '')}".strip()
        common = {key: value for key, value in shared.items() if key in STEP}
        steps = [common | step | {"arguments": both}]
    return Row(**fields | {"steps": tuple(Step(**one) for one in steps)})


def _each(row: dict) -> list[dict]:
    """The rows that a row with `each` stands for.

    `{each}` in a text is the value; of a table whose keys are values it chooses an entry, or none.
    """
    if "each" not in row:
        return [row]
    values = row.pop("each")
    rows = [{key: _chosen(field, value, values) for key, field in row.items()} for value in values]
    return [{key: field for key, field in one.items() if field is not None} for one in rows]


def _chosen(field: object, value: str, values: list[str]) -> object:
    if isinstance(field, list):
        return [_chosen(one, value, values) for one in field]
    if isinstance(field, dict):
        if field.keys() <= set(values):
            return field.get(value)
        return {name: _chosen(one, value, values) for name, one in field.items()}
    return field.replace("{each}", value) if isinstance(field, str) else field
