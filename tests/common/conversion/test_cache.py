import os

import numpy as np
import pytest

from common.conversion import cache
from common.errors import UserError
from common.events.event import EVENT


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ((16, "number", 1), "frames_number_16_split_by_number"),
        ((10, "time", 1), "frames_number_10_split_by_time"),
        ((4, "number", 4), "frames_number_4_split_by_number_downsample_4"),
    ],
)
def test_names_of_frame_folders(settings, folder):
    assert cache.frames_folder(*settings) == folder


@pytest.mark.parametrize("settings", [(0, "number", 1), (4, "number", 0), (4, "size", 1)])
def test_settings_without_frames_are_refused(settings):
    with pytest.raises(UserError, match="expected T >= 1, downsample >= 1 and a split by number or time"):
        cache.frames_folder(*settings)


def test_events_round_trip(tmp_path):
    events = np.array([(3_150_000_000, 127, 0, 1), (3_150_000_001, 0, 127, 0)], dtype=EVENT)
    cache.save_events(tmp_path / "a.npz", events)
    assert np.array_equal(cache.load_events(tmp_path / "a.npz"), events)


def test_polarities_other_than_zero_and_one_count_as_on(tmp_path):
    np.savez(tmp_path / "a.npz", t=[1, 2], x=[0, 0], y=[0, 0], p=[0, 255])
    assert cache.load_events(tmp_path / "a.npz")["p"].tolist() == [0, 1]


@pytest.mark.parametrize(("largest", "dtype"), [(255, "uint8"), (256, "uint16"), (65536, "uint32")])
def test_frames_are_stored_in_a_type_that_does_not_overflow(tmp_path, largest, dtype):
    cache.save_frames(tmp_path / "a.npz", np.full((1, 2, 1, 1), largest))
    assert (np.load(tmp_path / "a.npz")["frames"].dtype, cache.load_frames(tmp_path / "a.npz").max()) == (
        dtype,
        largest,
    )


def test_float64_frames_of_the_original_are_read_as_float32(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", frames=np.full((2, 2, 3, 3), 7.0))
    frames = cache.load_frames(tmp_path / "a.npz")
    assert (frames.dtype, frames.max()) == (np.float32, 7)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04half", b"text"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "broken.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.npz: expected an npz file with frames .* delete it"):
        cache.load_frames(tmp_path / "broken.npz")


def test_an_npz_with_other_keys_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros(3))
    with pytest.raises(UserError, match=r"a\.npz: expected an npz file with t, x, y, p"):
        cache.load_events(tmp_path / "a.npz")


def test_frames_of_another_shape_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", frames=np.zeros((4, 3, 8, 8)))
    with pytest.raises(UserError, match=r"expected counts \[T, 2, H, W\], found \[4, 3, 8, 8\]"):
        cache.load_frames(tmp_path / "a.npz")


def test_a_recording_outside_the_sensor_is_named(tmp_path):
    cache.save_events(tmp_path / "events_np" / "a" / "far.npz", np.array([(0, 9, 0, 0)], dtype=EVENT))
    with pytest.raises(UserError, match=r"far\.npz: x runs from 9 to 9, outside the sensor of 4 rows x 8 columns"):
        cache.make_frames(tmp_path, 2, "number", 1, (4, 8), workers=1)


def test_results_keep_the_order_of_the_jobs_in_parallel():
    assert cache.run(abs, range(-50, 0), 2, "test") == list(range(50, 0, -1))


def test_an_error_in_a_worker_process_reaches_the_caller(tmp_path):
    with pytest.raises(UserError, match=r"0\.npz"):
        cache.run(cache.load_frames, [tmp_path / f"{number}.npz" for number in range(8)], 2, "test")


def test_a_worker_process_that_dies_is_reported():
    with pytest.raises(UserError, match=r"test: a worker process died .* try again with --workers 1"):
        cache.run(os._exit, [1, 1], 2, "test")
