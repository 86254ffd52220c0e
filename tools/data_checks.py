"""Is a data set on disk whole, readable, and divided without leaks?

Each view of it lists its samples and knows how to read one; everything here works on any of them.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.conversion import cache, stages
from common.conversion.split import FILE, FIRST_FILE, Split, compare, read_split
from common.conversion.view import Entry, View
from common.errors import UserError
from common.events.event import EVENT, first_step_back


class Reading(NamedTuple):
    """What reading one sample showed."""

    problem: str = ""
    form: str = ""
    """Type and shape."""
    sha256: str = ""
    """Of type, shape and values; "" if the sample is empty."""
    backwards: bool = False
    """Whether its clock steps back."""


Counts = dict[str, dict[str, int]]
"""{class: {part: samples}}."""


def count(entries: Iterable[Entry]) -> Counts:
    """Samples of each class in each part; classes that are numbers in the order of the numbers."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        found[entry.category][entry.part] += 1
    order = sorted(found, key=lambda name: (int(name) if name.isdecimal() else -1, name))
    return {name: dict(found[name]) for name in order}


def count_table(counts: Counts) -> str:
    """`counts` as text, a line per class and one for the sum."""
    parts = sorted({part for row in counts.values() for part in row}, key=("train", "val", "test", "").index)
    width = max(map(len, (*counts, "class")))
    rows = [(name, *(row.get(part, 0) for part in parts)) for name, row in counts.items()]
    total = ("all", *(sum(row[column] for row in rows) for column in range(1, len(parts) + 1)))
    header = ("class", *(part or "samples" for part in parts))
    return "\n".join(f"{row[0]:{width}}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in (header, *rows, total))


def compare_counts(counts: Counts, expected: Mapping[str, int]) -> list[str]:
    """In what `counts` differ from published ones, which are of a part, of a class, or of all "classes"."""
    found = Counter({"classes": len(counts)})
    for name, row in counts.items():
        found[name] += sum(row.values())
        found.update(row)
    return [f"{key}: expected {wanted}, found {found[key]}" for key, wanted in expected.items() if found[key] != wanted]


def leaks_by_name(view: View) -> list[str]:
    """Recordings that are in more than one part under their name."""
    return _in_both_parts(view, [entry.recording for entry in view.entries], "the recording {key}")


def leaks_by_content(view: View, readings: Sequence[Reading]) -> list[str]:
    """Samples whose content is in more than one part, whatever their names; empty ones do not count."""
    return _in_both_parts(view, [reading.sha256 for reading in readings], "the same content")


def _in_both_parts(view: View, keys: Sequence[str], what: str) -> list[str]:
    owners: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry, key in zip(view.entries, keys, strict=True):
        if key and entry.part:
            owners[key].setdefault(entry.part, entry)
    return [
        f"{what.format(key=key)} is in {' and in '.join(f'{part} ({view.name(parts[part])})' for part in parts)}"
        for key, parts in owners.items()
        if len(parts) > 1
    ]


def read_all(view: View, workers: int | None = None) -> list[Reading]:
    """Read every sample of `view`."""
    return cache.run(partial(_inspect, view.read), view.entries, workers, f"read {view.stage}")


def _inspect(read: Callable[[Entry], np.ndarray], entry: Entry) -> Reading:
    try:
        sample = read(entry)
    except UserError as error:
        return Reading(problem=str(error))
    shape = sample.shape if sample.dtype.names is None else ("N",)
    form = f"{sample.dtype if sample.dtype.names is None else 'events'} {list(shape)}"
    if not sample.size or (sample.dtype.names is None and not sample.any()):
        return Reading(form=form)
    digest = hashlib.sha256(f"{sample.dtype} {sample.shape}".encode())
    digest.update(np.ascontiguousarray(sample).tobytes())
    backwards = sample.dtype == EVENT and first_step_back(sample) is not None
    return Reading(form=form, sha256=digest.hexdigest(), backwards=backwards)


def named(view: View, chosen: Sequence[bool]) -> list[str]:
    """The names of those samples that are `chosen`."""
    return [view.name(entry) for entry, yes in zip(view.entries, chosen, strict=True) if yes]


def reading_problems(view: View, readings: Sequence[Reading]) -> list[str]:
    """Damaged samples, and those of another shape than most."""
    found = [reading.problem for reading in readings if reading.problem]
    forms = Counter(reading.form for reading in readings if reading.form)
    if view.uniform and len(forms) > 1:
        usual = forms.most_common(1)[0][0]
        found += [
            f"{view.name(entry)}: {reading.form}, the others are {usual}; delete it and convert it again"
            for entry, reading in zip(view.entries, readings, strict=True)
            if reading.form not in ("", usual)
        ]
    return found


def marker_problems(root: Path, view: View) -> list[str]:
    """In what the files of a stage differ from those it had when it was complete."""
    try:
        then, now = stages.marked(root, view.stage), stages.listing({view.name(entry) for entry in view.entries})
    except UserError as error:
        return [str(error)]
    if then in (None, now):
        return []
    if not then.complete:
        return [f"{view.stage}: interrupted with {now.files} of {then.files} files made; run the prepare command again"]
    change = f"{then.files} files then, {now.files} now" if then.files != now.files else "other names"
    return [f"{view.stage}: not as the conversion left it ({change}); run the prepare command again"]


def manifest_problems(root: Path, view: View) -> list[str]:
    """Stored splits that are damaged or do not list the samples that there are."""
    problems = []
    for path in stored_splits(root):
        try:
            compare(path, read_split(path).names(), {view.name(entry) for entry in view.entries})
        except UserError as error:
            problems.append(str(error))
    return problems


def coverage_problems(views: Sequence[View]) -> list[str]:
    """Frames that are missing although there are events to make them of."""
    events, *others = views
    wanted = {events.name(entry) for entry in events.entries}
    problems = []
    for view in others if events.stage == cache.EVENTS else ():
        missing = wanted - {view.name(entry) for entry in view.entries}
        if missing:
            problems.append(
                f"{view.stage}: {len(missing)} of {len(wanted)} recordings are missing, {min(missing)} among them; run "
                "the prepare command again"
            )
    return problems


def stored_splits(root: Path) -> list[Path]:
    """The manifests that there are."""
    return [path for path in (root / FILE, root / FIRST_FILE) if path.exists()]


def as_split(view: View) -> Split:
    """The division of `view` as a manifest has it: names are paths relative to the view's folder."""
    split: Split = {}
    for entry in view.entries:
        parts = split.setdefault(entry.category, {"train": [], "test": []})
        parts["train" if entry.part == "train" else "test"].append(view.name(entry))
    return split
