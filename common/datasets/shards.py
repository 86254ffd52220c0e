"""Pictures in tar files: a few large files instead of a million small ones, for disks that many machines share.

`<folder>/<part>/000000.tar`, ... are shards as webdataset reads them: `<class>/<name>.jpeg` followed by
`<class>/<name>.cls`, the label. `index.npz` beside them says where each picture lies, so that any one is read by
itself, the order of a class folder is kept, and a loader shuffles and divides shards exactly as it does files.
"""

import io
import os
import tarfile
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path, PurePath

import numpy as np
from PIL import Image
from torch.utils.data import Dataset
from tqdm import tqdm

from common.errors import UserError, reason_of
from common.files import atomic_path, make_folder
from common.pictures import read_picture

INDEX = "index.npz"
SHARD = "{:06d}.tar"
FIELDS = {"classes": "U", "names": "U", "labels": "i", "shards": "i", "offsets": "i", "sizes": "i"}
"""Of an index, and the kinds of their arrays: all classes, then one value for each picture in the order of folders."""


def write_shards(samples: list[tuple[str, int]], classes: list[str], folder: Path, size: int) -> None:
    """Put the pictures of `samples`, (path, label) as torchvision's `ImageFolder` has them, into shards of `size`.

    They are drawn in one random order, always the same, so that who reads shards from beginning to end sees mixed
    classes. Shards that are there and complete are kept.
    """
    order = np.random.default_rng(0).permutation(len(samples)).tolist()
    names = _names(samples, classes)
    places = np.zeros((len(samples), 3), np.int64)
    with tqdm(total=len(samples), desc=folder.name, unit=" pictures", disable=None) as bar:
        for first in range(0, len(order), size):
            number, chosen = first // size, order[first : first + size]
            path = folder / SHARD.format(number)
            wanted = [(names[index], *samples[index]) for index in chosen]
            found = _places(path)
            if list(found) != [name for name, _, _ in wanted]:
                (folder / INDEX).unlink(missing_ok=True)  # of other shards
                _write_shard(path, wanted)
                found = _places(path)
            places[chosen] = [(number, *place) for place in found.values()]
            bar.update(len(chosen))
    for path in folder.glob("*.tar"):
        if path.stem.isdecimal() and int(path.stem) > number:
            path.unlink()  # of an earlier run with smaller shards
    arrays = (classes, names, [label for _, label in samples], *places.T)
    with atomic_path(folder / INDEX) as temporary:
        np.savez_compressed(temporary, **{field: np.array(array) for field, array in zip(FIELDS, arrays, strict=True)})


def _names(samples: list[tuple[str, int]], classes: list[str]) -> list[str]:
    """`<class>/<name>.<ending>` for each picture, one for each key of webdataset, which ends at the first dot."""
    names: dict[str, str] = {}
    for path, label in samples:
        file = PurePath(path)
        key = f"{classes[label]}/{file.stem}".replace(".", "_")
        if key in names:  # of a.b.jpg and a_b.png
            key = next(other for number in count(2) if (other := f"{key}_{number}") not in names)
        names[key] = key + file.suffix.lower()
    return list(names.values())


def _write_shard(path: Path, pictures: list[tuple[str, str, int]]) -> None:
    """Write (name, file, label) of each picture to a tar file."""
    make_folder(path.parent)
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, file, label in pictures:
            try:
                content = Path(file).read_bytes()
            except OSError as error:
                raise UserError(f"{file}: cannot be read ({reason_of(error)})") from error
            for member, data in ((name, content), (f"{name.rpartition('.')[0]}.cls", str(label).encode())):
                header = tarfile.TarInfo(member)
                header.size = len(data)
                tar.addfile(header, io.BytesIO(data))


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """{name: (offset, bytes)} of the pictures in a shard, in its order; empty if there is no whole one."""
    try:
        with tarfile.open(path, "r:") as tar:
            members = tar.getmembers()
    except (OSError, tarfile.TarError):
        return {}
    return {member.name: (member.offset_data, member.size) for member in members if not member.name.endswith(".cls")}


class Shards(Dataset):
    """The pictures of a folder of shards, in the order and with the attributes of torchvision's `ImageFolder`.

    Raises:
        UserError: no index that can be read, or one of other shards.
    """

    def __init__(self, root: Path, transform: Callable | None):
        self.root, self.transform = str(root), transform
        index = _read_index(root / INDEX)
        self.classes = index["classes"].tolist()
        self.targets = index["labels"].tolist()
        self.shards, self.offsets, self.sizes = (index[field] for field in ("shards", "offsets", "sizes"))
        files = [f"{root / SHARD.format(number)}" for number in range(self.shards.max() + 1)]
        for number, file in enumerate(files):
            mine = self.shards == number
            end = int((self.offsets + self.sizes)[mine].max(initial=0))
            if not Path(file).is_file() or Path(file).stat().st_size < end:
                raise UserError(f"{file}: missing or shorter than {INDEX} beside it says; write the shards again")
        paths = (f"{files[shard]}/{name}" for shard, name in zip(self.shards, index["names"].tolist(), strict=True))
        self.samples = list(zip(paths, self.targets, strict=True))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[object, int]:
        picture = self.picture(index)
        return picture if self.transform is None else self.transform(picture), self.targets[index]

    def picture(self, index: int) -> Image.Image:
        """Picture number `index` in RGB."""
        shard, size, offset = Path(self.root) / SHARD.format(self.shards[index]), self.sizes[index], self.offsets[index]
        content = os.pread(_opened(shard, os.getpid()), int(size), int(offset))
        return read_picture(self.samples[index][0], "RGB", content)


@cache
def _opened(path: Path, _process: int) -> int:
    """A descriptor of a file that stays open in this process."""
    return os.open(path, os.O_RDONLY)


def _read_index(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            index = {field: np.atleast_1d(file[field]) for field in FIELDS}  # NumPy gives bytes for what is no array
        for field in ("classes", "names"):
            index[field].tolist()  # only now NumPy sees whether it is text
    except Exception as error:  # NumPy and zipfile raise all kinds
        raise UserError(f"{path}: no index of shards ({reason_of(error)}); write the shards again") from error
    count = len(index["names"])
    for field, kind in FIELDS.items():
        array = index[field]
        if array.dtype.kind != kind or array.ndim != 1 or (field != "classes" and len(array) != count):
            raise UserError(f"{path}: {field} is no list of {count}; write the shards again")
    limits = {"labels": len(index["classes"]), "shards": count, "offsets": 2**62, "sizes": 2**62}
    if not count or any(index[field].min() < 0 or index[field].max() >= limit for field, limit in limits.items()):
        raise UserError(f"{path}: holds impossible numbers; write the shards again")
    return index | {field: index[field].astype(np.int64) for field in limits}  # whose sums do not overflow


def has_shards(folder: Path) -> bool:
    """Whether `folder` holds shards rather than class folders."""
    return (folder / INDEX).is_file()
