"""Every published table: what it reports, how to run it, and what has come of it.

    python tools/reproduce.py list --paper gac
    python tools/reproduce.py plan gac.cifar100
    python tools/reproduce.py plan --all
    python tools/reproduce.py report --output report --runs output --junit tests.xml
    python tools/reproduce.py update

`plan` names the folder of each run; by it `report` knows which published figure a run belongs to, and its seed.
"""

import argparse
from pathlib import Path

from common.errors import UserError
from common.training import run
from tools.papers import papers
from tools.reproduction import blocks
from tools.reproduction.plan import NOT_KNOWN, plan
from tools.reproduction.report import write_report
from tools.reproduction.tables import table, tables
from tools.text import columns


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    options = parser().parse_args(arguments)
    options.verb(options)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = command.add_subparsers(required=True, metavar="VERB")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text.capitalize() + ".")

    verb = add("list", "name the tables")
    verb.add_argument("--paper", choices=papers(), help="only those of one paper")
    verb.set_defaults(verb=list_tables)

    verb = add("plan", "print the commands of a table, its data and what is known of its time")
    verb.add_argument("table", nargs="?", metavar="TABLE", help="a name that `list` shows")
    verb.add_argument("--all", action="store_true", help="of all tables")
    verb.add_argument("--seed", type=int, help="another seed than the published one")
    verb.set_defaults(verb=print_plan)

    verb = add("report", "write report.md and report.html")
    verb.add_argument("--output", type=Path, default=Path("report"), metavar="FOLDER", help="default: %(default)s")
    verb.add_argument("--runs", type=Path, nargs="+", default=[], metavar="FOLDER", help="output folders of your runs")
    verb.add_argument("--junit", type=Path, metavar="FILE", help="what `pytest --junit-xml=FILE` wrote")
    verb.set_defaults(verb=report)

    verb = add("update", "write the tables that are generated anew, in READMEs and beside them")
    verb.set_defaults(verb=update)
    return command


def list_tables(options: argparse.Namespace) -> None:
    """One line per table."""
    lines = [("table", "title", "data", "rows", "published (%)", "GPU hours known")]
    for one in tables().values():
        if options.paper in (None, one.paper):
            known = [row.accuracy for row in one.rows if row.accuracy is not None]
            figures = " to ".join(map(str, sorted({min(known), max(known)}))) if known else NOT_KNOWN
            timed = sum(row.gpu_hours is not None for row in one.rows)
            rows = len(one.rows)
            lines.append((one.name, one.title, one.data, str(rows), figures, f"{timed} of {rows}"))
    print("\n".join(columns(lines)))


def print_plan(options: argparse.Namespace) -> None:
    """The plan of one table or of all.

    Raises:
        UserError: neither or both are named, or there is no such table.
    """
    if bool(options.table) == options.all:
        raise UserError("name one table, or all with --all: `python tools/reproduce.py list` shows the names")
    chosen = tables().values() if options.all else [table(options.table)]
    print("\n\n\n".join("\n".join(plan(one, options.seed)) for one in chosen))


def report(options: argparse.Namespace) -> None:
    """Write the report and say where it is."""
    for path in write_report(options.output, options.runs, options.junit):
        print(f"report: {path}")


def update(_: argparse.Namespace) -> None:
    """Write the marked tables and name the files that changed."""
    changed = blocks.update()
    print("\n".join(f"updated: {path}" for path in changed) or "every table is up to date")


if __name__ == "__main__":
    run(main)
