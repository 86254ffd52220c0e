"""One sample for a figure or a network, from whatever it is kept in.

| source                         | becomes                                                                            |
|--------------------------------|------------------------------------------------------------------------------------|
| .npy                           | the array: frames [T, C, H, W] or an image [C, H, W], FILE:3 of a batch; or events |
| .npz                           | frames of a converted data set, or its events cut into frames                      |
| .aedat .bin .mat .txt .hdf5    | events of a raw recording cut into frames; AEDAT 2.0 is oriented as in CIFAR10-DVS |
| a folder of frames             | the clip that they are, for networks trained on HAR-DVS                            |
| .jpg .jpeg .png .bmp .webp     | the centre of a picture with ImageNet's normalisation                              |
| tiny-dvs128:0 ...              | recording 0 of a built-in tiny data set cut into frames                            |
| tiny-image:0                   | picture 0 of scikit-learn's handwritten digits                                     |
"""

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from common.analysis.event_pictures import to_rgb
from common.conversion.cache import load_events, load_frames
from common.datasets.card import cards
from common.datasets.imagenet import MEAN, STD, load_rgb, to_tensor
from common.errors import UserError, nearest
from common.events.aedat import read_aedat2, read_aedat3, read_aedat_as_matlab
from common.events.atis import read_atis
from common.events.event import EVENT, in_order
from common.events.frames import SPLITS
from common.events.hdf5 import read_hdf5
from common.events.matlab import read_matlab
from common.events.rendered import clip_frames, frame_paths, load_image
from common.events.text import read_text
from common.events.windows import bin_frames, cut_clips, scaled
from common.tiny.images import paint_digit
from common.tiny.recordings import recordings

TINY_PER_CLASS = 40
"""Recordings of a tiny data set that can be asked for, per digit; the default of its card's `write_tiny`."""


@dataclass(frozen=True)
class Reading:
    """How recordings and pictures become arrays.

    A recording is cut into T frames by "number" or "time", and squares of `downsample` pixels a side are added up.
    `sensor_size` (H, W) is by default that of the camera that the kind of file comes from. Of a picture whose shorter
    side becomes `resize` pixels (`size` x 256/224 unless told) the central `size` x `size` are taken and normalised.

    With `dt` a recording is read as MA-SNN tests on it: `clips` windows of T frames of `dt` us, spread over it, the
    counts `binary` or divided `to_one`. `rendered` clips are folders of pictures, see `common.events.rendered`.
    """

    T: int = 16
    split_by: str = "number"
    downsample: int = 1
    sensor_size: tuple[int, int] | None = None
    size: int = 224
    resize: int | None = None
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    dt: int | None = None
    clips: int = 1
    binary: bool = False
    to_one: bool = False
    rendered: bool = False
    aedat: str = "cifar10dvs"
    """Orientation of AEDAT 2.0: that of `read_aedat2`, or "matlab"."""
    fit: tuple[int, int] | None = None
    """Of a picture for a detector or segmentor: most pixels of the longer and of the shorter side."""


def reading_of_pictures(transform: object, data: object) -> Reading | None:
    """What the steps of an evaluation `transform` of torchvision or timm do to the pictures of `data`.

    Pictures that are not resized (CIFAR) have one size; others would have to be brought to it.
    """
    steps = {type(step).__name__: step for step in transform.transforms}
    if not {*steps} <= {"Resize", "CenterCrop", "ToImage", "ToDtype", "ToTensor", "MaybeToTensor", "Normalize"}:
        return None
    picture = data[0][0]
    facts = {"size": picture.shape[-1], "resize": picture.shape[-1], "mean": (0.0,) * 3, "std": (1.0,) * 3}
    if "Resize" in steps:
        resize = steps["Resize"].size
        facts["resize"] = resize if isinstance(resize, int) else min(resize)
        interpolation = steps["Resize"].interpolation  # v2 leaves its default as text
        facts["interpolation"] = getattr(interpolation, "value", interpolation)
    if "Normalize" in steps:
        facts |= {name: tuple(float(v) for v in getattr(steps["Normalize"], name)) for name in ("mean", "std")}
    return Reading(**facts)


@dataclass(frozen=True)
class Sample:
    """One recording or image."""

    name: str
    values: Tensor
    """Event counts `[T, 2, H, W]`, a normalised image `[3, H, W]`, or what an array file holds."""
    times: tuple[float, ...] | None = None
    """Borders of the frames of a recording in ms after its first event, T + 1 of them."""

    @property
    def picture(self) -> np.ndarray:
        """The sample to look at, uint8 `[H, W, 3]`: all frames together, the extremes of an image black and white."""
        values = self.values.sum(0) if self.values.ndim == 4 else self.values
        if len(values) == 2:
            return to_rgb(values.numpy())
        low, high = values.aminmax()
        scaled = (values - low) / (high - low).clamp(min=1e-12)
        return (255 * scaled).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy()


Found = Tensor | tuple[Tensor, tuple[float, ...]]
"""The values of a sample, with the borders of its frames where they are known."""


def read_sample(source: str, reading: Reading = Reading()) -> Sample:
    """The sample that `source` names, see the table above; of several clips the first.

    Raises:
        UserError: there is no such file, kind of file or index, or events lie outside the sensor.
    """
    return read_clips(source, reading)[0]


def read_clips(source: str, reading: Reading) -> list[Sample]:
    """All clips of the sample that `source` names; only readings with `dt` have several.

    Raises:
        UserError: see `read_sample`.
    """
    reference, index = split_reference(source)
    if reference.startswith("tiny-"):
        found = _read_tiny(reference, index or 0, reading)
    else:
        found = _read_file(Path(reference), index, reading)
    values, times = found if isinstance(found, tuple) else (found, None)
    name = Path(reference).stem
    name = name if index is None else f"{name}_{index}"
    return [Sample(name, clip, times) for clip in (values if values.ndim == 5 else [values])]


def split_reference(source: str) -> tuple[str, int | None]:
    """("batch.npy", 3) of the text "batch.npy:3", ("batch.npy", None) of "batch.npy"."""
    found = re.fullmatch(r"(.+):(\d+)", source)
    return (found[1], int(found[2])) if found else (source, None)


def _read_tiny(reference: str, index: int, reading: Reading) -> Found:
    name = reference.removeprefix("tiny-")
    if name == "image":
        return _picture(_tiny_picture(index, reading.size), reading)
    sizes = {card.name: card.loader.sensor_size for card in cards().values() if card.frames}
    if name not in sizes:
        known = ["tiny-image", *(f"tiny-{each}" for each in sizes)]
        raise UserError(f"unknown tiny data {reference!r}: {nearest(reference, known)}there are {', '.join(known)}")
    if index >= 10 * TINY_PER_CLASS:
        raise UserError(f"{reference} has no recording {index}; choose one from 0 to {10 * TINY_PER_CLASS - 1}")
    *_, events = next(islice(recordings(10, TINY_PER_CLASS, sizes[name], np.random.default_rng(0)), index, None))
    return _frames(reference, events, sizes[name], reading)


def _tiny_picture(index: int, size: int) -> Image.Image:
    from sklearn.datasets import load_digits  # takes a second

    digits, labels = load_digits(return_X_y=True)
    if index >= len(digits):
        raise UserError(f"tiny-image has no picture {index}; choose one from 0 to {len(digits) - 1}")
    digit = digits[index].reshape(8, 8)
    return Image.fromarray(paint_digit(digit, size, size, labels[index] / 10, np.random.default_rng(index)))


def _read_file(path: Path, index: int | None, reading: Reading) -> Found:
    if reading.rendered and path.is_dir():
        return _read_clip(path, reading)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise UserError(f"{path}: unknown kind of file; give one that ends in {', '.join(READERS)}, or tiny-dvs128:0")
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the path, or try the built-in tiny-dvs128:0 or tiny-image:0")
    if index is not None and suffix != ".npy":
        raise UserError(f"{path}:{index}: only an array file (.npy) holds several samples; leave out :{index}")
    return _read_array(path, reading, index) if suffix == ".npy" else READERS[suffix](path, reading)


def _read_clip(folder: Path, reading: Reading) -> Tensor:
    paths = frame_paths(folder)
    begin = max(len(paths) - reading.T, 0) // 2
    images = [load_image(path) for path in paths[begin : begin + reading.T]]
    return clip_frames(images, reading.T, reading.size, reading.size * 256 // 224)


def _read_array(path: Path, reading: Reading, index: int | None = None) -> Found:
    try:
        array = np.load(path, allow_pickle=False)
        if array.dtype == EVENT:
            return _frames(str(path), array, (128, 128), reading)
        values = torch.from_numpy(array).float()
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise UserError(f"{path}: cannot read an array ({error}); save one with numpy.save") from error
    if index is not None:
        if not index < len(values):
            raise UserError(f"{path} has no sample {index}; choose one from 0 to {len(values) - 1}")
        values = values[index]
    if values.ndim == 5:
        raise UserError(f"{path} holds {len(values)} samples of shape {list(values.shape[1:])}; name one as {path}:0")
    if values.ndim not in (3, 4) or 0 in values.shape:
        shape = list(values.shape)
        raise UserError(f"{path} has the shape {shape}; expected frames [T, C, H, W] or an image [C, H, W]")
    return values


def _read_npz(path: Path, reading: Reading) -> Found:
    framed = zipfile.is_zipfile(path) and "frames.npy" in zipfile.ZipFile(path).namelist()
    return _downsampled(torch.from_numpy(load_frames(path)), reading) if framed else _read_events(path, reading)


def _read_aedat(path: Path, reading: Reading) -> np.ndarray:
    with path.open("rb") as stream:
        if stream.read(12).startswith(b"#!AER-DAT3"):
            return read_aedat3(path)
    return read_aedat_as_matlab(path) if reading.aedat == "matlab" else read_aedat2(path, orientation=reading.aedat)


EVENTS: dict[str, tuple[Callable[..., np.ndarray], tuple[int, int]]] = {
    ".npz": (load_events, (128, 128)),
    ".aedat": (_read_aedat, (128, 128)),
    ".bin": (read_atis, (180, 240)),
    ".mat": (read_matlab, (128, 128)),
    ".txt": (read_text, (128, 128)),
    ".hdf5": (lambda path: read_hdf5(path)[0], (128, 128)),
}
"""Reader of each kind of recording and (H, W) of the usual camera."""


def _read_events(path: Path, reading: Reading) -> Found:
    read, sensor_size = EVENTS[path.suffix.lower()]
    events = read(path, reading) if read is _read_aedat else read(path)
    return _frames(str(path), events, sensor_size, reading)


def _frames(name: str, events: np.ndarray, sensor_size: tuple[int, int], reading: Reading) -> Found:
    try:
        if reading.dt is not None:
            return _windows(in_order(events, name), (reading.sensor_size or sensor_size)[0], reading)
        counts = SPLITS[reading.split_by](events, reading.T, *(reading.sensor_size or sensor_size))
    except UserError as error:
        raise UserError(f"{name}: {error}; see -T, --split-by and --sensor-size") from error
    return _downsampled(torch.from_numpy(counts).float(), reading), _borders(events["t"], reading)


def _windows(events: np.ndarray, side: int, reading: Reading) -> Found:
    """The windows `[clips, T, 2, H, W]` of a recording of a square sensor."""
    clips = cut_clips(events, reading.T * reading.dt, reading.clips)
    counts = np.stack([bin_frames(clip, reading.T, reading.dt, side=side, shrink=reading.downsample) for clip in clips])
    frames = scaled(torch.from_numpy(counts).mT.contiguous(), binary=reading.binary, to_one=reading.to_one)
    return frames, tuple(reading.dt / 1000 * step for step in range(reading.T + 1))


def _borders(t: np.ndarray, reading: Reading) -> tuple[float, ...]:
    """When the frames of events at `t` us begin and the last one ends, in ms after the first event."""
    if not len(t):
        return (0.0,) * (reading.T + 1)
    if reading.split_by == "time":
        begins = t[0] + np.arange(reading.T) * ((t[-1] - t[0]) // reading.T)
    else:
        begins = t[np.arange(reading.T) * (len(t) // reading.T)]
    return tuple(((np.append(begins, t[-1]) - t[0]) / 1000).tolist())


def _downsampled(frames: Tensor, reading: Reading) -> Tensor:
    height, width = frames.shape[2:]
    if reading.downsample < 1 or height % reading.downsample or width % reading.downsample:
        raise UserError(
            f"--downsample {reading.downsample} does not divide {height} x {width} pixels; choose one that does"
        )
    return F.avg_pool2d(frames, reading.downsample, divisor_override=1)


def _picture(picture: Image.Image, reading: Reading) -> Tensor:
    from torchvision.transforms import InterpolationMode, v2

    resize = reading.resize or reading.size * 256 // 224
    steps = [v2.Resize(resize, InterpolationMode(reading.interpolation)), v2.CenterCrop(reading.size)]
    return v2.Compose([*steps, *to_tensor(reading.mean, reading.std)])(picture)


READERS: dict[str, Callable[[Path, Reading], Found]] = {
    ".npy": _read_array,
    **dict.fromkeys(EVENTS, _read_events),
    ".npz": _read_npz,
    **dict.fromkeys(
        (".jpg", ".jpeg", ".png", ".bmp", ".webp"),
        lambda path, reading: _picture(load_rgb(str(path)), reading),
    ),
}
"""What reads the files of each suffix."""
