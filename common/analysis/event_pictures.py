"""Event frames as pictures: OFF events (channel 0) green, ON events (channel 1) blue, as in spikingjelly."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from common.datasets.card import cards
from common.errors import UserError
from common.files import atomic_path


def to_rgb(frame: np.ndarray) -> np.ndarray:
    """Counts `[2, H, W]` as a picture `[H, W, 3]` of uint8, the largest count of the frame being full brightness."""
    frame = np.asarray(frame, dtype=np.float64)
    scaled = np.rint(255 * frame / max(frame.max(), 1)).astype(np.uint8)
    return np.stack([np.zeros_like(scaled[0]), scaled[0], scaled[1]], axis=-1)


def save_gif(frames: np.ndarray, path: str | Path, *, milliseconds: int = 120, zoom: int = 1) -> Path:
    """Write an animation that repeats for ever, atomically, and return its path.

    Equal frames in a row are stored once and shown longer.

    Args:
        frames: event counts `[T, 2, H, W]`, each frame drawn by `to_rgb`, or pictures `[T, H, W, 3]` of uint8.
        path: the file, which ends in `.gif`.
        milliseconds: how long a frame is shown; the format counts in steps of 10.
        zoom: draw each pixel as a square of so many pixels a side.

    Raises:
        UserError: frames of another shape, or none; or a file that is not called `.gif`.
    """
    frames, path = np.asarray(frames), Path(path)
    if frames.ndim == 4 and frames.shape[1] == 2:
        frames = np.stack([to_rgb(frame) for frame in frames]) if len(frames) else frames
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise UserError(
            f"cannot animate a {frames.dtype} array of shape {list(frames.shape)}: "
            "expected event frames [T, 2, H, W] or uint8 pictures [T, H, W, 3]"
        )
    if path.suffix.lower() != ".gif":
        raise UserError(f"{path}: an animation is written as GIF; choose a name that ends in .gif")
    first, *rest = (Image.fromarray(picture.repeat(zoom, 0).repeat(zoom, 1)) for picture in frames)
    with atomic_path(path) as temporary:
        first.save(temporary, save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return path


def save_as_pic(x: np.ndarray, save_pic_to: str | Path = "./", pic_first_name: str = "pic") -> list[Path]:
    """Write each frame of `x` `[T, 2, H, W]` to `<save_pic_to>/<pic_first_name>_<t>.png` and return the paths."""
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[1] != 2:
        raise UserError(f"cannot draw an array of shape {list(x.shape)}: expected event frames [T, 2, H, W]")
    paths = [Path(save_pic_to) / f"{pic_first_name}_{t}.png" for t in range(len(x))]
    for frame, path in zip(x, paths, strict=True):
        with atomic_path(path) as temporary:
            Image.fromarray(to_rgb(frame)).save(temporary)
    return paths


def save_every_frame_of_an_entire_DVS_dataset(
    dataset: str,
    dataset_path: str | Path,
    time_steps: int,
    save_pic_to: str | Path = "./",
    number_of_threads: int = 4,
    train: bool = False,
) -> int:
    """Write every frame of a data set as `<save_pic_to>/<sample>_<label>_<t>.png` and return the number of samples.

    `dataset` is the class of a data set of frames, prepared at `dataset_path` for `time_steps` of them; the test part
    unless `train`.
    """
    classes = {card.loader.__name__: card.loader for card in cards().values() if card.frames}
    if dataset not in classes:
        raise UserError(f"unknown data set {dataset!r}; choose one of {', '.join(classes)}")
    samples = classes[dataset](dataset_path, train=train, T=time_steps)

    def save(index: int) -> None:
        frames, label = samples[index]
        save_as_pic(np.asarray(frames), save_pic_to, f"{index}_{label}")

    with ThreadPoolExecutor(number_of_threads) as pool:
        for _ in tqdm(pool.map(save, range(len(samples))), total=len(samples), unit="sample", desc=dataset):
            pass
    return len(samples)
