"""The generated tables, between `<!-- table: NAME -->` and `<!-- end -->`, or in YAML `# table: NAME` and `# end`."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from pathlib import Path

from common.analysis.energy import energy
from common.errors import UserError
from common.files import atomic_path
from ma_snn.models.attention import ATTENTIONS
from spikingformer import PAPER as SPIKINGFORMER
from spikingformer.published import energy_logs, logged_layers
from tools.papers import folder, papers
from tools.reproduction import cards, counts
from tools.reproduction.document import Grid, markdown
from tools.reproduction.evidence import MEANINGS, status
from tools.reproduction.plan import NOT_KNOWN, percent
from tools.reproduction.tables import ROOT, Row, Table, paper_titles, tables

MARKED = re.compile(r"(?P<head>(<!--|#) table: (?P<name>\S+)( -->)?\n).*?(?P<end>(<!--|#) end)", re.DOTALL)
LEGEND = (
    "`python tools/reproduce.py plan TABLE` prints every command. {meanings}. **No accuracy has been reproduced here: "
    "nothing has been trained at full scale.**"
)


def results(paper: str) -> str:
    """Published results of a paper beside the networks here; a line per network, its methods together."""
    rows = []
    for table in tables_of(paper):
        for position, (network, members) in enumerate(groupby(table.rows, lambda row: row.network)):
            heading = f"{table.title} (`{table.name}`)" if position == 0 else ""
            rows.append([heading, network, *_summary(list(members))])
    header = ("table", "network", "published (%)", "source", "parameters, published", "parameters here", "status")
    used = {word for table in tables_of(paper) for word in map(status, table.rows)}
    meanings = "; ".join(f"{word}: {meaning}" for word, meaning in MEANINGS.items() if word in used)
    return f"{markdown([Grid(header, rows)])}\n{LEGEND.format(meanings=meanings)}\n"


def _summary(rows: list[Row]) -> list[str]:
    """Accuracies, their source, published and own parameters, and status of the methods of one network."""
    known = [": ".join(filter(None, (row.method, percent(row)))) for row in rows if row.accuracy is not None]
    parameters = {f"{row.parameters} M" for row in rows if row.parameters is not None}
    words = set(map(status, rows))
    return [
        ", ".join(known) or NOT_KNOWN,
        ", ".join(dict.fromkeys(row.source for row in rows if row.source)),
        ", ".join(sorted(parameters)) or NOT_KNOWN,
        interval(map(counts.parameters, rows)),
        ", ".join(word for word in MEANINGS if word in words),
    ]


def interval(numbers: Iterable[int]) -> str:
    """The number, or the smallest and the largest."""
    found = sorted(set(numbers))
    return " to ".join(f"{number:,}" for number in dict.fromkeys((found[0], found[-1])))


def tables_of(paper: str) -> list[Table]:
    """The tables of a paper."""
    return [table for table in tables().values() if table.paper == paper]


def attentions() -> str:
    """How many parameters each attention of MA-SNN adds; LIF and LIAF have equally many."""
    names = {"Gesture": "ma_snn.gesture", "CIFAR10-DVS": "ma_snn.cifar10dvs", "Gait": "ma_snn.gait"}
    rows = [[attention] for attention in ATTENTIONS]
    for name in names.values():
        by_attention = {row.create["attention"]: row for row in tables()[name].rows}
        for line in rows:
            line.append(f"{counts.parameters(by_attention[line[0]]):,}")
    return markdown([Grid(("`--attention`", *names), rows)])


def energies() -> str:
    """The published energy logs of Spikingformer, added up again."""
    return markdown([energy_grid()])


def energy_grid() -> Grid:
    """Reported and recomputed energy of each published log."""
    rows = []
    for name, log in energy_logs().items():
        total = energy(logged_layers(log), SPIKINGFORMER.energy)
        numbers = [f"{total.mac / 1e9:.4f}", f"{total.ac / 1e9:.4f}", f"{total.millijoules:.4f}"]
        rows.append([name, str(log["ssa_info"]["Nheads"]), *numbers, f"{log['reported_energy_mJ']:.4f}"])
    return Grid(
        ("network", "attention heads", "MAC (G)", "AC (G)", "energy (mJ)", "energy printed in the log (mJ)"), rows
    )


def overview() -> str:
    """One line per paper."""
    rows = []
    for paper in papers():
        members = [row for table in tables_of(paper) for row in table.rows]
        words = list(map(status, members))
        named = ", ".join(f"`{table.name}`" for table in tables_of(paper))
        counted = ", ".join(f"{words.count(word)} {word}" for word in MEANINGS if word in words)
        known = sum(row.accuracy is not None for row in members)
        rows.append([paper_titles()[paper], named, str(len(members)), str(known), counted])
    header = ("paper", "tables for `reproduce.py plan`", "rows", "with a published figure", "status")
    return markdown([Grid(header, rows)])


def blocks() -> dict[str, Callable[[], str]]:
    """{name of a block: what makes its content}."""
    return {
        "papers": cards.papers_table,
        "overview": overview,
        "originals": cards.originals,
        "references": cards.references,
        **{paper: partial(results, paper) for paper in papers()},
        "ma_snn.attention": attentions,
        "spikingformer.energy": energies,
    }


def documents() -> list[Path]:
    """The files that hold blocks."""
    readmes = (folder(paper) / "README.md" for paper in papers().values())
    return [*(ROOT / name for name in ("README.md", "THIRD_PARTY.md", "CITATION.cff")), *readmes]


def updated(text: str, name: str) -> str:
    """A document with its marked blocks made anew.

    Raises:
        UserError: a block has an unknown name.
    """

    def replace(block: re.Match) -> str:
        if block["name"] not in blocks():
            raise UserError(f"{name}: unknown block {block['name']!r}; expected one of {', '.join(blocks())}")
        return f"{block['head']}\n{blocks()[block['name']]()}\n{block['end']}"

    return MARKED.sub(replace, text)


def update() -> list[Path]:
    """Write every block anew; returns the documents that changed."""
    changed = []
    for path in documents():
        before = path.read_text()
        if (after := updated(before, str(path))) != before:
            with atomic_path(path) as temporary:
                temporary.write_text(after)
            changed.append(path)
    return changed
