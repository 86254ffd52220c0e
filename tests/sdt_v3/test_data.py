"""Recordings become the frames of the authors' loaders."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from common.errors import UserError
from common.events.event import pack
from common.events.rendered import clip_frames, frame_paths, polarity_maps
from common.events.text import write_text
from common.events.windows import bin_frames
from common.training import Process
from common.training.repeated_augmentation import RepeatedAugmentation
from sdt_v3.data.gait import GaitWindows, moved
from sdt_v3.data.hardvs import HarDvs
from sdt_v3.data.images import eval_transform
from tests.parity.harness import FOLDER, load


def recording(seed, n, span):
    r = np.random.RandomState(seed)
    t = np.sort(r.randint(0, span, n))
    return pack(t, r.randint(0, 128, n), r.randint(0, 128, n), r.randint(0, 2, n))


def test_event_frames_equal_the_original():
    meta, expected = load(FOLDER / "sdt_v3" / "dvs_events_T8_ds4.npz")
    k, drawn = meta["kwargs"], meta["input"]
    events = recording(drawn["seed"], drawn["n"], drawn["span"])
    frames = torch.from_numpy(bin_frames(events, k["T"], k["dt"], side=128, shrink=k["ds"]))
    assert torch.equal(frames.sum((1, 2, 3)).double(), expected["frames_t"])
    assert torch.equal(frames[0].double(), expected["frames_first"])
    assert frames.sum() == expected["total"]


@given(st.integers(1, 12), st.integers(1, 40_000))
def test_every_event_of_the_window_is_counted_once(T, duration):
    events = recording(0, 200, 150_000)
    within = (events["t"] - events["t"][0]) < T * duration
    assert bin_frames(events, T, duration, side=128, shrink=4).sum() == within.sum()


@pytest.mark.parametrize("train", [True, False])
def test_a_window_without_events_is_all_0(tmp_path, train):
    folder = tmp_path / "npy" / ("train" if train else "test") / "3"
    folder.mkdir(parents=True)
    np.save(folder / "walk.txt.npy", recording(0, 0, 1))
    frames, _ = GaitWindows(tmp_path, train, T=4)[0]
    assert (frames.dtype, frames.shape, frames.any().item()) == (torch.float32, (4, 2, 128, 128), False)


def test_events_outside_the_sensor_are_refused():
    with pytest.raises(UserError, match="outside the sensor of 64 x 64"):
        bin_frames(recording(0, 200, 1000), 4, 15_000, side=64, shrink=4)


def random_images(count):
    r = np.random.RandomState(5)
    return [Image.fromarray(r.randint(0, 256, (260, 346, 3)).astype(np.uint8)) for _ in range(count)]


def test_hardvs_frames_equal_the_original():
    _, expected = load(FOLDER / "sdt_v3" / "hardvs_frames.npz")
    frames = clip_frames(random_images(4), T=6).double()
    pixels = 1 / frames[0, 0].numel()
    difference = (frames.mean((2, 3)) - expected["mean"]).abs()
    assert difference.max() <= 2 * pixels  # Pillow's bicubic may move single pixels across a threshold
    assert torch.equal(frames[0, :, ::16, ::16], expected["rows"])


def test_grey_values_choose_the_map():
    grey = Image.new("L", (16, 16))
    grey.putdata([(20, 60, 100, 200)[i % 4] for i in range(256)])
    maps = polarity_maps(grey, 16, 16)
    assert maps[:, 0, :4].tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_flipped_frames_are_mirrored():
    images = random_images(2)
    assert torch.equal(clip_frames(images, 2, flip=lambda: True), clip_frames(images, 2).flip(-1))


def clip_list(folder, frames, lines=("clips 1 7",)):
    """A list and one clip whose frames are black and white in turn."""
    for number in range(frames):
        (folder / "clips" / "a").mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 40), 255 if number % 2 else 0).save(folder / "clips" / "a" / f"frame_{number}.png")
    (folder / "list.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder, folder / "list.txt"


def dark(frames):
    """Which frames are black."""
    return frames[:, 0].flatten(1).any(1).tolist()


def test_a_clip_is_read_in_the_order_of_its_numbers(tmp_path):
    clip_list(tmp_path, 12)
    paths = frame_paths(tmp_path / "clips" / "a")
    assert [path.stem for path in paths] == [f"frame_{number}" for number in range(12)]


def test_a_short_clip_ends_in_empty_frames(tmp_path):
    frames, label = HarDvs(*clip_list(tmp_path, 1), False, T=3, size=32)[0]
    assert (dark(frames), label) == ([True, False, False], 7)


def test_evaluation_takes_the_middle_of_a_clip(tmp_path):
    frames, _ = HarDvs(*clip_list(tmp_path, 5), False, T=3, size=32)[0]
    assert dark(frames) == [False, True, False]


def test_training_takes_any_place_of_a_clip(tmp_path):
    torch.manual_seed(0)
    data = HarDvs(*clip_list(tmp_path, 6), True, T=3, size=32)
    assert {tuple(dark(data[0][0])) for _ in range(20)} == {(True, False, True), (False, True, False)}


def half_dark(folder):
    """A clip of eight frames whose left half is black."""
    source = clip_list(folder, 8)
    image = Image.new("L", (40, 40), 255)
    image.paste(0, (0, 0, 20, 40))
    for path in frame_paths(folder / "clips" / "a"):
        image.save(path)
    return source


def test_published_evaluation_takes_any_place_of_a_clip(tmp_path):
    torch.manual_seed(0)
    data = HarDvs(*clip_list(tmp_path, 6), False, T=3, size=32, published=True)
    assert {tuple(dark(data[0][0])) for _ in range(20)} == {(True, False, True), (False, True, False)}


@pytest.mark.parametrize(("published", "sides"), [(False, 1), (True, 2)])
def test_mirroring_is_by_clip_or_by_frame(tmp_path, published, sides):
    torch.manual_seed(1)
    frames, _ = HarDvs(*half_dark(tmp_path), True, T=8, size=32, mirror=True, published=published)[0]
    assert len({frame[0, 0, 0].item() for frame in frames}) == sides


@pytest.mark.parametrize(
    ("lines", "reason"),
    [(["clips 1 seven"], "line 1: expected 'path ... label'"), (["nowhere 1 2"], "hold no folders"), ([], "no clips")],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path, lines, reason):
    with pytest.raises(UserError, match=reason):
        HarDvs(*clip_list(tmp_path, 1, lines), False, T=3)


def test_a_damaged_frame_is_named(tmp_path):
    source = clip_list(tmp_path, 1)
    (tmp_path / "clips" / "a" / "frame_0.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"frame_0\.png: cannot be read"):
        HarDvs(*source, False, T=3)[0]


def walk(root, events, part):
    (root / part / "3").mkdir(parents=True)
    write_text(root / part / "3" / "walk.txt", events)


@pytest.mark.parametrize("train", [True, False])
def test_gait_windows_count_the_events_of_a_recording(tmp_path, train):
    walk(tmp_path, recording(0, 500, 600_000), "train" if train else "test")
    frames, label = GaitWindows(tmp_path, train, T=4, factor=4)[0]
    assert (frames.shape, label) == ((4, 2, 32, 32), 3)
    assert 0 < frames.sum() < 100


def test_moved_events_stay_on_the_sensor():
    torch.manual_seed(0)
    events = [moved(recording(0, 500, 1000)) for _ in range(10)]
    assert len({len(each) for each in events}) > 2
    assert all(each["x"].min() >= 0 and each["y"].max() < 128 for each in events)


def test_repeated_augmentation_shows_each_chosen_image_three_times():
    samplers = [RepeatedAugmentation(range(512), Process(rank, 2, rank, None), seed=0) for rank in range(2)]
    assert [len(sampler) for sampler in samplers] == [256, 256]
    times = Counter(index for sampler in samplers for index in sampler)
    assert Counter(times.values())[3] == 170  # 512 views of 171 images, the last of them shown twice


def test_evaluation_keeps_224_of_232_pixels():
    edges = Image.new("RGB", (232, 232))
    edges.paste((255, 255, 255), (4, 4, 228, 228))
    image = eval_transform(224)(edges)
    assert image.shape == (3, 224, 224)
    assert image.min() > 2  # white everywhere: the border of four pixels was cut off
