"""Suite `events`: reading recordings, counting frames, and the whole conversion of one recording."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from common.conversion.cache import load_events, save_events, save_frames
from common.errors import UserError
from common.events import compiled
from common.events.aedat import read_aedat2, read_aedat3, write_aedat2, write_aedat3
from common.events.atis import read_atis, write_atis
from common.events.event import pack
from common.events.frames import frames_by_number, frames_by_time
from tools.benchmarks import measure
from tools.benchmarks.measure import Row, Setting

SETTINGS = (Setting(1, False), Setting(1, True))
T, SIDE = 16, 128

Work = Callable[[], object]


def recording(count: int) -> np.ndarray:
    """Events at uniformly drawn places and times of two seconds."""
    rng = np.random.default_rng(0)
    places = (rng.integers(0, limit, count) for limit in (SIDE, SIDE, 2))
    return pack(np.sort(rng.integers(0, 2_000_000, count)), *places)


def works(events: np.ndarray, folder: Path) -> Iterator[tuple[str, Work, dict[str, Work]]]:
    """(case, our work, that of the peers) on the same recording; every work returns what it read or counted."""
    three, two, atis = folder / "three.aedat", folder / "two.aedat", folder / "atis.bin"
    write_aedat3(three, events)
    write_aedat2(two, events, orientation="cifar10dvs")
    write_atis(atis, events)
    read = {
        "read AEDAT 3.1": lambda: read_aedat3(three),
        "read AEDAT 2.0": lambda: read_aedat2(two, orientation="cifar10dvs"),
        "read ATIS": lambda: read_atis(atis),
    }
    counted = {
        "frames by number": lambda: frames_by_number(events, T, SIDE, SIDE),
        "frames by time": lambda: frames_by_time(events, T, SIDE, SIDE),
    }
    converted = {"AEDAT 3.1 to events and frames": lambda: convert(read_aedat3, frames_by_number, three, folder)}
    peers = spikingjelly(three, two, atis, folder) if measure.installed("spikingjelly") else {}
    for name, work in {**counted, **read, **converted}.items():
        yield name, work, {"spikingjelly": peers[name]} if peers else {}


def convert(read: Callable, count: Callable, source: Path, folder: Path) -> np.ndarray:
    """A recording to its two files in the cache of a data set, events and frames."""
    save_events(folder / "events.npz", read(source))
    frames = count(load_events(folder / "events.npz"), T, SIDE, SIDE)
    save_frames(folder / "frames.npz", frames)
    return frames


def spikingjelly(three: Path, two: Path, atis: Path, folder: Path) -> dict[str, Work]:
    """The same works by its functions; it counts the arrays that its own reader returned.

    Its conversion is given our two files to write, which it would fill with 64-bit numbers and not compress.
    """
    from spikingjelly.datasets import cifar10_dvs, utils

    events = utils.load_aedat_v3(three)

    def count(events: dict[str, np.ndarray], T: int, height: int, width: int, split_by: str = "number") -> np.ndarray:
        return utils.integrate_events_by_fixed_frames_number(events, split_by, T, height, width)

    def read(source: Path) -> np.ndarray:
        return pack(*(utils.load_aedat_v3(source)[field] for field in "txyp"))

    return {
        "frames by number": lambda: count(events, T, SIDE, SIDE),
        "frames by time": lambda: count(events, T, SIDE, SIDE, "time"),
        "read AEDAT 3.1": lambda: utils.load_aedat_v3(three),
        "read AEDAT 2.0": lambda: cifar10_dvs._load_origin_data(two),
        "read ATIS": lambda: utils.load_ATIS_bin(atis),
        "AEDAT 3.1 to events and frames": lambda: convert(read, lambda *of: count(*of).astype(int), three, folder),
    }


@contextmanager
def numpy_only() -> Iterator[None]:
    """Without the compiled events."""
    with mock.patch.object(compiled, "LIBRARY", Path("absent")):
        yield


def without_extension(work: Work) -> Work:
    """`work` as it runs where nothing was compiled."""

    def run() -> object:
        with numpy_only():
            return work()

    return run


def check_same(case: str, ours: object, theirs: object) -> None:
    """Frames are equal, or events field by field.

    Raises:
        UserError: they are not.
    """
    pairs = [(ours, theirs)] if ours.dtype.names is None else [(ours[field], theirs[field]) for field in "txyp"]
    if not all(np.array_equal(*pair) for pair in pairs):
        raise UserError(f"{case}: the results differ; nothing was timed")


def times(setting: Setting, repeats: int, count: int) -> list[Row]:
    """All rows of the suite; meant for a fresh process."""
    clock = setting.enter()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, work, peers in works(recording(count), Path(folder)):
            everybody = {"ours": work, "ours, NumPy": without_extension(work), **peers}
            for other in list(everybody.values())[1:]:
                check_same(name, work(), other())
            variants = {variant: measure.timed("time", one) for variant, one in everybody.items()}
            rows += measure.interleaved("events", name, setting, clock, variants, repeats)
    return rows


def run(quick: bool) -> dict:
    """Measure the suite; returns its part of the report."""
    settings, repeats, count = (SETTINGS[:1], 2, 2_000) if quick else (SETTINGS, 5, 300_000)
    rows = [row for setting in settings for row in measure.in_fresh_process(times, setting, repeats, count)]
    return {"rows": rows}
