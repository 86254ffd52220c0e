"""HAR-DVS: folders of rendered frames of events, one per clip, and lists that give each group of clips a label.

A frame is read back as two polarity maps by its grey value.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.analysis.samples import Reading
from common.conversion.cache import shortened
from common.conversion.view import PARTS, Entry, View
from common.datasets.card import DataSet
from common.errors import UserError
from common.events.rendered import by_number, clip_frames, frame_paths, load_image
from common.files import without_litter
from sdt_v3.data.tiny_hardvs import write_tiny_hardvs


class HarDvs(Dataset):
    """Clips as (frames float32 `[T, 2, size, size]`, label) pairs; see `polarity_maps` for the two maps.

    A clip of more than T frames gives T in a row: in training from a random place, in evaluation from the middle. A
    shorter one ends in empty frames. Random choices come from torch's generator, which a `DataLoader` seeds anew for
    each worker and epoch.

    Args:
        root: the folder that the list's paths are relative to.
        listing: text file of lines `path ... label`; each folder in `path`, in order of name, is a clip.
        train: draw the place.
        T: frames per sample.
        size: pixels per side.
        mirror: mirror half of the clips.
        published: as the release: mirror half of the frames, each by itself; a random place in evaluation too.

    Attributes:
        clips: (folder, label) of each sample.

    Raises:
        UserError: a missing list or folder, or a line that names no label.
    """

    name = "hardvs"
    url = "https://github.com/Event-AHU/HARDVS"
    num_classes = 300

    def __init__(
        self,
        root: str | Path,
        listing: str | Path,
        train: bool,
        T: int,
        size: int = 224,
        mirror: bool = False,
        *,
        published: bool = False,
    ):
        self.train, self.T, self.size = train, T, size
        self.mirror, self.published = mirror, published
        self.clips = read_list(Path(root), Path(listing))

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        folder, label = self.clips[index]
        paths = frame_paths(folder)
        spare = max(len(paths) - self.T, 0)
        begin = int(torch.randint(spare + 1, ())) if self.train or self.published else spare // 2
        images = [load_image(path) for path in paths[begin : begin + self.T]]
        return clip_frames(images, self.T, self.size, self.size * 256 // 224, flip=self.flips()), label

    @property
    def reading(self) -> Reading:
        """How a clip is read for evaluation."""
        return Reading(self.T, size=self.size, rendered=True)

    def flips(self) -> Callable[[], bool]:
        """What tells for each frame of one clip whether to mirror it."""
        if self.mirror and self.published:
            return coin
        of_clip = self.mirror and coin()
        return lambda: of_clip


def coin() -> bool:
    """True half of the time."""
    return bool(torch.rand(()) < 0.5)


def read_list(root: Path, listing: Path) -> list[tuple[Path, int]]:
    """(clip folder, label) of every clip below the folders that the lines of `listing` name.

    Raises:
        UserError: see `HarDvs`.
    """
    if not listing.is_file():
        raise UserError(
            f"there is no label list {listing}; fetch HAR-DVS from {HarDvs.url} and give its folder by --data_path and "
            "its lists by --train_list and --test_list"
        )
    clips, missing = [], []
    for number, line in enumerate(listing.read_text("utf-8-sig").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) < 2 or not words[-1].isdecimal():
            raise UserError(f"{listing}: line {number}: expected 'path ... label', found {line[:60]!r}")
        folder = root / words[0]
        found = sorted((path for path in without_litter(folder.glob("*"), folder) if path.is_dir()), key=by_number)
        missing += [] if found else [f"{words[0]} (line {number})"]
        clips += [(path, int(words[-1])) for path in found]
    if missing:
        raise UserError(
            f"{listing}: {len(missing)} of its folders hold no folders of frames below {root}: {shortened(missing)}; "
            "check --data_path, fetch them, or remove their lines"
        )
    if not clips:
        raise UserError(f"{listing} lists no clips; fetch it again from {HarDvs.url}")
    return clips


def hardvs_views(root: Path) -> list[View]:
    """The clips of both lists."""
    entries = [
        Entry(part, str(label), clip, clip.relative_to(root).as_posix())
        for part in PARTS
        for clip, label in read_list(root, root / f"{part}_label.txt")
    ]
    return [View("clips", root, entries, _read_clip)]


def _read_clip(entry: Entry) -> np.ndarray:
    images = [load_image(path) for path in frame_paths(entry.path)]
    return clip_frames(images, len(images)).numpy()


CARD = DataSet.of(
    HarDvs,
    title="HAR-DVS as folders of rendered frames",
    papers="sdt_v3",
    form="clips",
    files="the frames, train_label.txt and test_label.txt",
    folder="data/HARDVS",
    split="published: the two lists",
    views=hardvs_views,
    write_tiny=write_tiny_hardvs,
    expected={"classes": HarDvs.num_classes},
)
