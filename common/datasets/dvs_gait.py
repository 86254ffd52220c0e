"""DVS128-Gait: people walking past a DVS128, as text files, converted once to NumPy arrays."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from common.conversion import cache, stages
from common.conversion.prepare import Prepared
from common.conversion.view import PARTS, Entry, View, read_inside
from common.datasets.card import DataSet
from common.datasets.event_windows import EventWindows
from common.errors import UserError
from common.events.event import EVENT, in_order, pack
from common.events.object_arrays import read_object_array
from common.events.text import read_text
from common.files import atomic_path, without_litter
from common.tiny.events import write_tiny_gait

CONVERTED = "npy"


class DVSGait(EventWindows):
    """DVS128-Gait in `<root>/npy/{train,test}/<label>/<recording>.npy`, as `convert` writes them.

    The label is the name of the folder, 0 to 20; the split is the one published.
    """

    name = "dvs_gait"
    citation = (
        "Wang et al., Event-Stream Representation for Human Gaits Identification Using Deep Neural Networks, TPAMI 2022"
    )
    url = "https://github.com/zhangxiann/TPAMI_Gait_Identification"
    num_classes = 21

    def __init__(self, root: str | Path, *args, **kwargs):
        convert(Path(root))
        super().__init__(root, *args, **kwargs)

    @classmethod
    def find(cls, root: Path, part: str) -> list[Path]:
        """The recordings of a part, by label and name."""
        found = labelled(root / CONVERTED / part)
        if not found:
            raise UserError(
                f"{root}: neither converted recordings in {CONVERTED}/{part}/<label> nor text files in {part}/<label>, "
                f"nor {part}_data.npy and {part}_target.npy in {CONVERTED}/{part}; "
                f"fetch DVS128-Gait from {cls.url}"
            )
        return [path for path, _ in found]

    def read(self, path: Path) -> tuple[np.ndarray, int]:
        """Events and label."""
        return load_events(path), int(path.parent.name)

    def first_start(self, events: np.ndarray) -> int:
        """The time of the first event."""
        return int(events["t"][0]) if len(events) else 0


def convert(source: Path, root: Path | None = None, workers: int | None = None) -> None:
    """Write each text file `<source>/{train,test}/<label>/*` as an array of dtype `EVENT` below `<root>/npy`.

    A part without text files comes from the two files that the authors' code makes of it, see `packed`. Recordings that
    are there are kept, so that an interrupted call is continued by the next. `root` is `source` unless given.

    Raises:
        UserError: a damaged recording, or a label that is not a number from 0 to 20.
    """
    root = root or source
    for part in PARTS:
        files = packed(source, part)
        if files is not None and not labelled(source / part):
            unpack(*files, root / CONVERTED / part)
    texts = [path for part in ("train", "test") for path, _ in labelled(source / part)]
    arrays = {path.relative_to(source).with_name(f"{path.name}.npy"): path for path in texts}
    todo = [(path, root / CONVERTED / name) for name, path in arrays.items() if not (root / CONVERTED / name).exists()]
    if todo:
        stages.begin(root, CONVERTED, map(Path.as_posix, arrays))
    failures = cache.attempt(_write_npy, todo, workers, "DVSGait text")
    cache.check_failures([message for _, message in failures], len(texts))
    if texts:
        stages.mark(root, CONVERTED, map(Path.as_posix, arrays))


def packed(source: Path, part: str) -> tuple[Path, Path] | None:
    """The authors' `{part}_data.npy` and `{part}_target.npy` in `npy/{part}`, `{part}` or `source` itself, if there."""
    for folder in (source / CONVERTED / part, source / part, source):
        files = folder / f"{part}_data.npy", folder / f"{part}_target.npy"
        if all(file.is_file() for file in files):
            return files
    return None


def unpack(data: Path, target: Path, folder: Path) -> None:
    """Write the arrays `[N, 4]` of t, x, y, p in `data`, with labels in `target`, as `<folder>/<label>/<number>.npy`.

    Raises:
        UserError: one of the files is damaged, or holds something else.
    """
    labels = np.asarray(read_object_array(target), np.int64).reshape(-1)
    if not np.isin(labels, range(DVSGait.num_classes)).all():
        raise UserError(f"{target}: expected labels from 0 to {DVSGait.num_classes - 1}, found {sorted(set(labels))}")
    paths = [folder / str(label) / f"{number:05}.npy" for number, label in enumerate(labels)]
    if all(path.exists() for path in paths):
        return
    recordings = read_object_array(data)
    if len(recordings) != len(paths):
        raise UserError(f"{data} has {len(recordings)} recordings, {target} has {len(paths)} labels; copy both again")
    for number, (events, path) in enumerate(zip(recordings, paths, strict=True)):
        events = np.asarray(events)
        if events.ndim != 2 or events.shape[1] != 4 or not np.isin(events[:, 3], (0, 1)).all():
            raise UserError(f"{data}: recording {number}: expected rows of t, x, y and p = 0 or 1")
        if not path.exists():
            with atomic_path(path) as temporary:
                np.save(temporary, pack(*events.T, name=f"{data}: recording {number}"))


def labelled(folder: Path) -> list[tuple[Path, int]]:
    """(recording, label) of all files in `<folder>/<label>`, sorted by label and name.

    Raises:
        UserError: a folder whose name is not a label.
    """
    found = []
    for path in without_litter(folder.glob("*/*"), folder):
        label = path.parent.name
        if not label.isdecimal() or int(label) >= DVSGait.num_classes:
            raise UserError(f"{path.parent}: expected a folder named after a label from 0 to {DVSGait.num_classes - 1}")
        found.append((path, int(label)))
    return sorted(found, key=lambda item: (item[1], item[0].name))


def load_events(path: Path) -> np.ndarray:
    """Events [N] of dtype `EVENT` in order of time from an npy file; see `read_array`."""
    return in_order(read_array(path), path)


def read_array(path: Path) -> np.ndarray:
    """Events [N] of dtype `EVENT` from an npy file.

    Raises:
        UserError: damaged, or not such a file.
    """
    try:
        events = np.load(path, allow_pickle=False)
    except Exception as error:  # what damaged files raise has no common base
        raise UserError(f"{path}: not a readable array ({error}); delete it, it is made again from the text") from error
    if events.dtype != EVENT or events.ndim != 1:
        found = f"{events.dtype} {list(events.shape)}"
        raise UserError(f"{path}: expected events [N] of dtype {EVENT}, found {found}; delete it")
    return events


def _write_npy(job: tuple[Path, Path]) -> None:
    text, output = job
    with atomic_path(output) as temporary:
        np.save(temporary, read_text(text))


def _convert(options: argparse.Namespace) -> Prepared:
    convert(options.source, options.output, options.workers)
    DVSGait.find(options.output, "train")
    return Prepared(options.output, [])


def gait_views(root: Path) -> list[View]:
    """The arrays of DVS128-Gait."""
    folder = root / CONVERTED
    if not folder.is_dir() and (root / "train").is_dir():
        raise UserError(
            f"{root}: text recordings that are not converted; run: python tools/convert_dataset.py prepare dvs_gait "
            f"--source {root} --output {root}"
        )
    entries = [Entry(part, path.parent.name, path) for part in PARTS for path in DVSGait.find(root, part)]
    return [View(CONVERTED, folder, entries, partial(read_inside, (DVSGait.side, DVSGait.side), read_array))]


CARD = DataSet.of(
    DVSGait,
    title="DVS128-Gait, by day or by night, as arrays",
    papers="ma_snn, sdt_v3 (gait-day, gait-night)",
    form="events",
    files="folders {train,test}/<label>/* of text recordings, or npy/{train,test}/*_{data,target}.npy",
    folder="ma_snn/DVSGait/data; data/gait-day, data/gait-night",
    split="published: folders train and test",
    convert=_convert,
    views=gait_views,
    write_tiny=write_tiny_gait,
    expected={"classes": DVSGait.num_classes},
)
