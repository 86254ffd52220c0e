"""HAR-DVS on disk: folders of rendered frames, one per clip, and lists that give each group of clips a label."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from common.errors import UserError
from sdt_v3.data.hardvs import clip_frames

SUFFIXES = (".png", ".jpg", ".jpeg")
HOME = "https://github.com/Event-AHU/HARDVS"


class HarDvs(Dataset):
    """Clips as (frames float32 `[T, 2, size, size]`, label) pairs; see `sdt_v3.data.hardvs` for the two maps.

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
        flip_frames: mirror each frame of a clip independently instead, as the release does.

    Attributes:
        clips: (folder, label) of each sample.

    Raises:
        UserError: a missing list or folder, or a line that names no label.
    """

    def __init__(
        self,
        root: str | Path,
        listing: str | Path,
        train: bool,
        T: int,
        size: int = 224,
        *,
        mirror: bool = False,
        flip_frames: bool = False,
    ):
        self.train, self.T, self.size = train, T, size
        self.mirror, self.flip_frames = mirror, flip_frames
        self.clips = read_list(Path(root), Path(listing))

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        folder, label = self.clips[index]
        paths = frame_paths(folder)
        spare = max(len(paths) - self.T, 0)
        begin = int(torch.randint(spare + 1, ())) if self.train else spare // 2
        images = [load_image(path) for path in paths[begin : begin + self.T]]
        return clip_frames(images, self.T, self.size, self.size * 256 // 224, flip=self.flips()), label

    def flips(self) -> Callable[[], bool]:
        """What tells for each frame of one clip whether to mirror it."""
        if self.mirror and self.flip_frames:
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
            f"there is no label list {listing}; fetch HAR-DVS from {HOME} and give its folder by --data_path and its "
            "lists by --train_list and --test_list"
        )
    clips = []
    for number, line in enumerate(listing.read_text().splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) < 2 or not words[-1].isdecimal():
            raise UserError(f"{listing}: line {number}: expected 'path ... label', found {line[:60]!r}")
        folder = root / words[0]
        found = sorted((path for path in folder.glob("[!.]*") if path.is_dir()), key=by_number)
        if not found:
            raise UserError(f"{listing}: line {number}: {folder} holds no folders of frames; check --data_path")
        clips += [(path, int(words[-1])) for path in found]
    if not clips:
        raise UserError(f"{listing} lists no clips; fetch it again from {HOME}")
    return clips


def frame_paths(folder: Path) -> list[Path]:
    """The frames of a clip in order of time, which is that of the numbers in their names.

    Raises:
        UserError: there are none.
    """
    paths = sorted((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), key=by_number)
    if not paths:
        raise UserError(f"{folder}: expected frames as {', '.join(SUFFIXES)} files, found none; unpack the clip again")
    return paths


def by_number(path: Path) -> list[tuple[str, int]]:
    """Sorting key by which frame_10 comes after frame_9."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", path.name)]


def load_image(path: Path) -> Image.Image:
    """The picture in a file.

    Raises:
        UserError: it is damaged or no picture.
    """
    try:
        with Image.open(path) as image:
            return image.convert("L")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"{path}: cannot be read as an image ({error}); unpack the clip again") from error
