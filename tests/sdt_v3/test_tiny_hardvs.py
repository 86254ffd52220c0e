"""The tiny HAR-DVS: frame folders and label lists, made once, from digits before an event camera."""

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from sdt_v3.data.tiny_hardvs import FRAMES, SENSOR, render, write_tiny_hardvs

SMALL = {"classes": 2, "per_class": 2, "test_per_class": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_hardvs(tmp_path_factory.mktemp("hardvs"), **SMALL)


def test_a_list_has_a_line_per_class(folder):
    assert (folder / "train_label.txt").read_text() == "train/action_000 2 0\ntrain/action_001 2 1\n"


def test_every_clip_has_all_frames(folder):
    clips = list(folder.glob("*/action_*/clip_*"))
    assert [len(list(clip.glob("*.png"))) for clip in clips] == [FRAMES] * 6


def test_a_frame_has_the_sensor_s_size(folder):
    with Image.open(next(folder.rglob("*.png"))) as image:
        assert image.size == SENSOR[::-1]


def test_no_image_is_in_both_parts(folder):
    train, test = ({path.read_bytes() for path in folder.glob(f"{part}/**/*.png")} for part in ("train", "test"))
    assert not train & test


def test_the_same_arguments_give_the_same_frames(folder, tmp_path):
    again = write_tiny_hardvs(tmp_path, **SMALL)
    for path in folder.rglob("*.png"):
        assert (again / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_polarities_have_their_colours():
    counts = np.zeros((2, 1, 3), int)
    counts[0, 0, 1] = counts[1, 0, 2] = 1
    assert np.asarray(render(counts))[0].tolist() == [[255, 255, 255], [0, 0, 0], [0, 255, 0]]


@pytest.mark.parametrize("wrong", [{"classes": 1}, {"per_class": 0}, {"per_class": 170}])
def test_impossible_sizes_are_refused(tmp_path, wrong):
    with pytest.raises(UserError, match="expected 2 to 10 classes"):
        write_tiny_hardvs(tmp_path, **(SMALL | wrong))
