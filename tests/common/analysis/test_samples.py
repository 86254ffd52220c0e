import numpy as np
import pytest
import torch
from PIL import Image

from common.analysis.samples import Reading, Sample, read_sample
from common.conversion.cache import save_events, save_frames
from common.datasets.imagenet import MEAN, STD
from common.errors import UserError
from common.events.aedat import write_aedat2, write_aedat3
from common.events.atis import write_atis
from common.events.event import pack
from common.events.hdf5 import write_hdf5
from common.events.matlab import write_matlab
from common.events.text import write_text

EVENTS = pack(np.arange(8) * 10, np.arange(8), np.full(8, 3), np.array([0, 1] * 4))
WRITERS = {
    ".npz": save_events,
    ".aedat": lambda path, events: write_aedat2(path, events, orientation="cifar10dvs"),
    ".bin": write_atis,
    ".mat": write_matlab,
    ".txt": write_text,
    ".hdf5": lambda path, events: write_hdf5(path, events, 0),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_recording_of_any_kind_becomes_the_frames_of_its_events(suffix, tmp_path):
    path = tmp_path / f"recording{suffix}"
    WRITERS[suffix](path, EVENTS)
    frames = read_sample(str(path), Reading(T=2)).values
    assert frames.sum((1, 2, 3)).tolist() == [4, 4]
    assert frames[0, :, 3, :8].tolist() == [[1, 0, 1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0, 0, 0]]


def test_aedat_of_version_3_is_recognised_by_its_content(tmp_path):
    write_aedat3(tmp_path / "recording.aedat", EVENTS)
    assert read_sample(str(tmp_path / "recording.aedat"), Reading(T=1)).values.sum() == 8


def test_frames_of_a_converted_data_set_are_taken_as_they_are(tmp_path):
    frames = np.arange(2 * 2 * 4 * 4).reshape(2, 2, 4, 4)
    save_frames(tmp_path / "frames.npz", frames)
    assert np.array_equal(read_sample(str(tmp_path / "frames.npz"), Reading(T=7)).values, frames)


def test_squares_of_pixels_are_added_up(tmp_path):
    save_frames(tmp_path / "frames.npz", np.ones((1, 2, 4, 4)))
    assert read_sample(str(tmp_path / "frames.npz"), Reading(downsample=2)).values.tolist() == [[[[4, 4]] * 2] * 2]


def test_one_sample_of_a_batch_is_chosen_by_its_number(tmp_path):
    batch = np.random.default_rng(0).random((3, 4, 2, 5, 5))
    np.save(tmp_path / "batch.npy", batch)
    torch.testing.assert_close(read_sample(f"{tmp_path}/batch.npy:2").values, torch.from_numpy(batch[2]).float())


def test_a_picture_is_normalised_as_imagenet_is(tmp_path):
    Image.new("RGB", (50, 40), (255, 0, 0)).save(tmp_path / "red.png")
    values = read_sample(str(tmp_path / "red.png"), Reading(size=32)).values
    assert values.shape == (3, 32, 32)
    torch.testing.assert_close(values[:, 0, 0], (torch.tensor([1.0, 0, 0]) - torch.tensor(MEAN)) / torch.tensor(STD))


def test_tiny_recordings_are_the_same_each_time():
    assert torch.equal(read_sample("tiny-cifar10dvs:2").values, read_sample("tiny-cifar10dvs:2").values)


def test_tiny_picture_has_the_size_asked_for():
    assert read_sample("tiny-image:5", Reading(size=40)).picture.shape == (40, 40, 3)


def test_picture_of_frames_has_off_events_green_and_on_events_blue():
    frames = torch.zeros(2, 2, 1, 2)
    frames[:, 0, 0, 0] = frames[:, 1, 0, 1] = 1
    assert Sample("events", frames).picture.tolist() == [[[0, 255, 0], [0, 0, 255]]]


def test_picture_of_an_image_runs_from_black_to_white():
    picture = Sample("image", torch.tensor([-2.0, 3.0]).expand(3, 1, 2)).picture
    assert picture.tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize(
    "source, message",
    [
        ("notes.pdf", "unknown kind of file; give one that ends in .npy"),
        ("none.npy", "there is no file"),
        ("tiny-mnist:0", "did you mean tiny-image. there are tiny-image, tiny-dvs128"),
        ("tiny-dvs128:400", "choose one from 0 to 399"),
        ("tiny-image:1797", "choose one from 0 to 1796"),
        ("batch.npy", "name one as"),
        ("batch.npy:3", "choose one from 0 to 2"),
        ("vector.npy", r"expected frames \[T, C, H, W\] or an image"),
        ("broken.npy", "cannot read an array"),
        ("broken.npz", "expected an npz file"),
        ("outside.txt", "outside the sensor .* see -T, --split-by and --sensor-size"),
        ("outside.txt:1", "only an array file"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_remedy(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("batch.npy", np.zeros((3, 4, 2, 5, 5)))
    np.save("vector.npy", np.zeros(3))
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    write_text("outside.txt", pack(*np.array([[0], [200], [0], [1]])))
    with pytest.raises(UserError, match=message) as error:
        read_sample(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("reading", [Reading(T=0), Reading(downsample=3), Reading(downsample=0)])
def test_settings_that_no_frames_can_be_made_with_are_refused(reading):
    with pytest.raises(UserError, match=r"-T|--downsample"):
        read_sample("tiny-dvs128:0", reading)


def test_sensor_size_can_be_given(tmp_path):
    write_atis(tmp_path / "digit.bin", EVENTS)
    assert read_sample(str(tmp_path / "digit.bin"), Reading(sensor_size=(34, 34))).values.shape == (16, 2, 34, 34)


@pytest.mark.parametrize("split_by, borders", [("number", (0.0, 0.002, 0.009)), ("time", (0.0, 0.004, 0.009))])
def test_the_borders_of_frames_are_milliseconds_after_the_first_event(split_by, borders, tmp_path):
    t = np.array([5, 6, 7, 14])
    write_text(tmp_path / "four.txt", pack(t, *np.zeros((3, 4), int)))
    assert read_sample(str(tmp_path / "four.txt"), Reading(T=2, split_by=split_by)).times == pytest.approx(borders)
