"""Prepare, check, divide and look at the data sets of all papers.

    python tools/convert_dataset.py list
    python tools/convert_dataset.py prepare dvs128 --source DOWNLOADS --output data/DVS128Gesture -T 16
    python tools/convert_dataset.py check   dvs128 data/DVS128Gesture
    python tools/convert_dataset.py split   cifar10dvs data/cifar10dvs
    python tools/convert_dataset.py preview dvs128 data/DVS128Gesture --samples 4 --output previews
    python tools/convert_dataset.py shard   imagenet --source data/ImageNet2012 --output shards/ImageNet2012

`list` says which data sets there are, who uses them and where to get them. Without a verb, `prepare` is meant.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from common.analysis.figures import FORMATS
from common.conversion import stages
from common.conversion.cache import shortened
from common.conversion.split import FILE, FIRST_FILE, first_split, load_split, read_split, save_split
from common.conversion.view import View
from common.datasets.card import DataSet
from common.errors import UserError
from common.events.frames import SPLITS
from common.locks import locked
from common.training import run
from tools import data_checks as checks
from tools import data_preview
from tools.data_sets import data_sets
from tools.text import one_of

FIRST_RULE = "the first 90 % of each class by name train"
QUICK = 100
"""Samples that `check --quick` reads of each stage."""
SHARD_SIZE = 10_000
"""Pictures of ImageNet in about a gigabyte."""
FRAMES = 8
"""Frames that `preview` cuts from events unless told otherwise."""


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    options.action(options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; `action` is the function of its verb."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="VERB", title="verbs (VERB --help tells more)")
    _prepare_parser(_verb(verbs, "prepare", prepare, "convert published files, or go on where that was interrupted"))
    look = _verb(
        verbs, "check", check, "count and read the samples, look for leaks; exit status 2 if something is wrong"
    )
    look.add_argument("root", type=Path, help="folder of the prepared data set")
    look.add_argument("--quick", action="store_true", help=f"read {QUICK} samples of each stage instead of all")
    look.add_argument("--workers", type=int, help="processes (default: one per core)")
    divide = _verb(verbs, "split", split, "show what trains and what tests; save it, never over another split")
    divide.add_argument("root", type=Path, help="folder of the prepared data set")
    divide.add_argument("--seed", type=int, help="of a new split of a data set whose authors made none")
    divide.add_argument(
        "--first", action="store_true", help=f"Spikingformer's split instead: {FIRST_RULE.replace('%', '%%')}"
    )
    draw = _verb(
        verbs, "preview", preview, "a picture strip and an animation of some samples, one picture of all of them"
    )
    draw.add_argument("root", type=Path, help="folder of the prepared data set")
    draw.add_argument("--samples", type=int, default=8, help="how many (default: %(default)s)")
    draw.add_argument("-T", type=int, help=f"frames; by default those that there are, or {FRAMES} cut from events")
    draw.add_argument("--output", type=Path, default=Path("previews"), help="folder (default: %(default)s)")
    draw.add_argument("--format", choices=FORMATS, default="png", help="of the pictures (default: %(default)s)")
    pack = _verb(verbs, "shard", shard, "put pictures into tar files that training reads like their folders")
    pack.add_argument("--source", type=Path, required=True, help="folder of the prepared data set; only read")
    pack.add_argument("--output", type=Path, required=True, help="folder for the shards; complete ones there are kept")
    pack.add_argument("--size", type=int, default=SHARD_SIZE, help="pictures in a shard (default: %(default)s)")
    all_of_them = "all data sets, their papers, sources, folders and terms"
    listing = verbs.add_parser("list", help=all_of_them, description=all_of_them.capitalize() + ".")
    listing.set_defaults(action=list_all)
    arguments = sys.argv[1:] if arguments is None else arguments
    return parser.parse_args(["prepare", *arguments] if arguments[:1] and arguments[0] in data_sets() else arguments)


def _verb(
    verbs: argparse._SubParsersAction, name: str, action: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(action=action)
    parser.add_argument("dataset", type=one_of(data_sets()), metavar="DATASET", help=", ".join(data_sets()))
    return parser


def _prepare_parser(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option("--source", type=Path, required=True, help="archive, folder of archives, or folder of recordings; only read")
    option("--output", type=Path, help="folder of the prepared data set")
    option("--workers", type=int, help="processes (default: one per core)")
    option("--strict", action="store_true", help="fail when the published data set is incomplete")
    option("--skip-missing", action="store_true", help="go on without recordings that a published list names (dvs128)")
    frames = parser.add_argument_group("for data sets of frames")
    frames.add_argument("-T", type=int, help="frames per recording")
    frames.add_argument("--split-by", choices=SPLITS, help="equal events (default) or equal time per frame")
    frames.add_argument("--downsample", type=int, help="shrink the sensor this many times")


def prepare(options: argparse.Namespace) -> None:
    """Convert, save the split, and say what is missing from the published data set."""
    data_set = data_sets()[options.dataset]
    converts = data_set.converts(options.source)
    _check_flags(options, data_set, converts)
    with locked(options.output) if converts else nullcontext():
        if converts:
            stages.remove_leftovers(options.output)
        _prepare(options, data_set, converts)


def _prepare(options: argparse.Namespace, data_set: DataSet, converts: bool) -> None:
    prepared = data_set.prepare(options)
    if options.strict and prepared.problems:
        raise UserError("; ".join(prepared.problems))
    if converts and prepared.root == options.output and data_set.form != "pictures":  # whose folders are the split
        save_split_of(data_set, prepared.root, data_set.views(prepared.root)[0])
    if converts:
        print(f"ready: {prepared.root}")
    else:
        print(f"nothing to convert: {prepared.root} is laid out as the loaders expect")
    for problem in prepared.problems:
        print(f"warning: {problem}", file=sys.stderr)


def shard(options: argparse.Namespace) -> None:
    """Write shards, as many as are missing."""
    write = data_sets()[options.dataset].shard
    if write is None:
        able = ", ".join(name for name, data_set in data_sets().items() if data_set.shard is not None)
        raise UserError(f"{options.dataset} is not put into shards; these are: {able}")
    if options.size < 1:
        raise UserError(f"--size {options.size}: expected at least one picture in a shard")
    with locked(options.output):
        write(options.source, options.output, options.size)
    print(f"ready: {options.output}")


def _check_flags(options: argparse.Namespace, data_set: DataSet, converts: bool) -> None:
    """Demand the flags that this data set needs, refuse those that mean nothing to it, fill in defaults.

    Raises:
        UserError: a flag too few or too many.
    """
    given = {"-T": options.T, "--split-by": options.split_by, "--downsample": options.downsample}
    example = f"python tools/convert_dataset.py prepare {options.dataset} --source {options.source}"
    if converts:
        example += f" --output {options.output or data_set.home} {data_set.flags}".rstrip()
        if options.output is None or (data_set.frames and options.T is None):
            raise UserError(
                f"prepare {options.dataset} needs {'--output' if options.output is None else '-T'}: {example}"
            )
    else:
        given["--output"] = options.output
    useless = [] if data_set.frames else [flag for flag, value in given.items() if value is not None]
    if options.skip_missing and not getattr(data_set.loader, "listed", False):
        useless.append("--skip-missing")
    if useless:
        raise UserError(f"prepare {options.dataset} has no use for {', '.join(useless)}; say only: {example}")
    options.split_by = options.split_by or "number"
    options.downsample = 1 if options.downsample is None else options.downsample


def check(options: argparse.Namespace) -> None:
    """Print counts, notes and problems of a prepared data set.

    Raises:
        UserError: there are problems.
    """
    data_set, root = data_sets()[options.dataset], options.root
    if (root / stages.UNPACKING).exists():
        raise UserError(f"{root}: the conversion to it was interrupted; run the same prepare command again")
    views = data_set.views(root)
    problems = [*checks.coverage_problems(views), *checks.manifest_problems(root, views[0])]
    if any(not entry.part for entry in views[0].entries):
        print(f"note: not divided yet; run: python tools/convert_dataset.py split {options.dataset} {root}")
    known: checks.Counts = {}
    for view in views:
        counts = checks.count(view.entries)
        print(f"{view.stage}: " + ("the same counts" if counts == known else f"\n{checks.count_table(counts)}"))
        differences = checks.compare_counts(counts, data_set.expected) if counts != known else []
        problems += _check_view(data_set, root, view, differences, options)
        known = counts
    for problem in problems:
        print(f"problem: {problem}")
    if problems:
        raise UserError(
            f"{root}: {len(problems)} problems with {options.dataset}, listed above; mend them and check again"
        )
    print(f"{root}: no problem found")


def _check_view(
    data_set: DataSet, root: Path, view: View, differences: list[str], options: argparse.Namespace
) -> list[str]:
    """The problems of one view; `differences` are those from the published counts."""
    published = data_set.is_published(view.entries)
    notes = [f"not the published set: {'; '.join(differences)}"] if differences and not published else []
    if data_set.converts(root) and stages.marked(root, view.stage) is None:
        notes.append("no done-marker: made elsewhere, or by an interrupted run; the prepare command adds it")
    some = replace(view, entries=data_preview.spread(view.entries, QUICK)) if options.quick else view
    readings = checks.read_all(some, options.workers)
    twins = checks.leaks_by_content(some, readings)
    if twins and data_set.official_twins and published and not differences:
        notes.append(f"{len(twins)} pictures are in both published parts, for example {twins[0]}")
        twins = []
    blank = checks.named(some, [not reading.problem and not reading.sha256 for reading in readings])
    if blank:
        notes.append(f"{len(blank)} samples are empty: {shortened(blank)}")
    backwards = checks.named(some, [reading.backwards for reading in readings])
    if backwards:
        notes.append(f"the clock of {len(backwards)} recordings steps back: {shortened(backwards)}")
    print(f"read {len(some.entries)} of {len(view.entries)} samples" + f", {len(blank)} of them empty" * bool(blank))
    for note in notes:
        print(f"note: {note}")
    problems = [*checks.marker_problems(root, view), *checks.reading_problems(some, readings)]
    return [*(differences if published else []), *problems, *checks.leaks_by_name(view), *twins]


def split(options: argparse.Namespace) -> None:
    """Print the split of a prepared data set; save it if none is saved."""
    data_set, root = data_sets()[options.dataset], options.root
    view = data_set.views(root)[0]
    path = save_split_of(data_set, root, view, options.seed, options.first)
    if path is None:
        print(checks.count_table(checks.count(view.entries)))
        print(f"{data_set.split}; the published checksums of the files stand for a saved split")
        return
    manifest = read_split(path)
    print(
        checks.count_table(
            {name: {part: len(names) for part, names in parts.items()} for name, parts in manifest.split.items()}
        )
    )
    print(f"{path}: {manifest.rule}\nsha256 {manifest.sha256}")


def save_split_of(
    data_set: DataSet, root: Path, view: View, seed: int | None = None, first: bool = False
) -> Path | None:
    """Where the split is saved now, as it is used or as it was saved before; None if its samples have no files.

    Args:
        data_set: whose samples they are.
        root: folder of the prepared data set.
        view: its samples.
        seed: of a new split, instead of the paper's.
        first: save Spikingformer's split, to a file of its own.

    Raises:
        UserError: another split is saved, or `seed` or `first` for samples that are divided already.
    """
    divided = data_set.split_seed is None or any(
        (root / name).is_dir() for name in ("train_dataset", f"{view.stage}/train")
    )
    if divided and (first or seed is not None):
        raise UserError(f"{root}: is divided already ({data_set.split}); leave out --seed and --first")
    if any(entry.index is not None for entry in view.entries):
        return None
    path = root / (FIRST_FILE if first else FILE)
    if divided:
        rule = data_set.split if data_set.split_seed is None else "folders train and test"
        save_split(path, checks.as_split(view), rule)
    elif first:
        save_split(path, first_split(_names(view)), FIRST_RULE)
    else:
        _save_seeded(data_set, root, path, view, seed)
    return path


def _save_seeded(data_set: DataSet, root: Path, path: Path, view: View, seed: int | None) -> None:
    if seed is not None and path.exists() and (stored := read_split(path)).seed != seed:
        raise UserError(f"{path}: holds another split ({stored.rule}); delete it for one with --seed {seed}")
    names = {category: [Path(name).name for name in names] for category, names in _names(view).items()}
    load_split(root, names, data_set.split_seed if seed is None else seed)
    if not path.exists():
        raise UserError(f"{path}: cannot be written; make the folder writable to save a split")


def _names(view: View) -> dict[str, list[str]]:
    names: dict[str, set[str]] = {}
    for entry in view.entries:
        names.setdefault(entry.category, set()).add(view.name(entry))
    return {category: sorted(found) for category, found in names.items()}


def preview(options: argparse.Namespace) -> None:
    """Draw some samples of a prepared data set."""
    data_set = data_sets()[options.dataset]
    if options.samples < 1 or (options.T is not None and options.T < 1):
        raise UserError("--samples and -T must be at least 1")
    view = data_preview.choose(data_set.views(options.root), options.T)
    for path in data_preview.draw(
        view, options.samples, options.T or FRAMES, options.output, data_set.class_name, options.format
    ):
        print(path)


def list_all(options: argparse.Namespace) -> None:
    """Print what there is to know before a data set is there."""
    for name, data_set in data_sets().items():
        command = f"python tools/convert_dataset.py prepare {name} --source SOURCE"
        output = f" --output {data_set.home} {data_set.flags}".rstrip() if data_set.convert else ""
        rows = {
            "papers": data_set.papers,
            "fetch": f"{data_set.files}, from {data_set.url}",
            "folder": data_set.folder,
            "split": data_set.split,
            "terms": data_set.terms,
            "prepare" if data_set.convert else "look": command + output,
        }
        print(f"{name}: {data_set.title}")
        for key, value in rows.items():
            print(f"  {key:8}{value}")


if __name__ == "__main__":
    run(main)
