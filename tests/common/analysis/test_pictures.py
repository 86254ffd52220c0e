import numpy as np
import pytest
from PIL import Image

from common.analysis import figures
from common.analysis.event_pictures import save_as_pic, save_every_frame_of_an_entire_DVS_dataset, save_gif, to_rgb
from common.errors import UserError


def test_off_events_are_green_and_on_events_blue():
    frame = np.zeros((2, 3, 4))
    frame[0, 1, 2], frame[1, 0, 3] = 4, 2
    picture = to_rgb(frame)
    assert picture[1, 2].tolist() == [0, 255, 0]
    assert picture[0, 3].tolist() == [0, 0, 128]


def test_counts_above_one_do_not_wrap_around():
    assert to_rgb(np.full((2, 1, 1), 300.0)).tolist() == [[[0, 255, 255]]]


def test_one_picture_per_frame_without_border(tmp_path):
    paths = save_as_pic(np.ones((3, 2, 5, 7)), tmp_path, "sample")
    assert [path.name for path in paths] == ["sample_0.png", "sample_1.png", "sample_2.png"]
    assert Image.open(paths[0]).size == (7, 5)


def test_wrong_shape_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected event frames \[T, 2, H, W\]"):
        save_as_pic(np.ones((3, 5, 7)), tmp_path)


def test_unknown_data_set_is_named(tmp_path):
    with pytest.raises(UserError, match="unknown data set 'MNIST'"):
        save_every_frame_of_an_entire_DVS_dataset("MNIST", tmp_path, 4)


def test_an_animation_has_a_frame_per_time_step(tmp_path):
    frames = np.zeros((3, 2, 5, 7))
    frames[range(3), 1, range(3), 0] = 1
    picture = Image.open(save_gif(frames, tmp_path / "sample.gif", zoom=2))
    assert (picture.n_frames, picture.size, picture.info["loop"]) == (3, (14, 10), 0)


def test_an_animation_is_made_of_pictures_too(tmp_path):
    pictures = np.zeros((2, 4, 4, 3), np.uint8)
    pictures[1] = 255
    assert Image.open(save_gif(pictures, tmp_path / "sample.gif")).n_frames == 2


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (4, 4), (3, 3, 4, 4)])
def test_what_is_no_animation_is_refused(tmp_path, shape):
    with pytest.raises(UserError, match=r"expected event frames \[T, 2, H, W\] or uint8 pictures"):
        save_gif(np.ones(shape), tmp_path / "sample.gif")


def test_an_animation_is_called_gif(tmp_path):
    with pytest.raises(UserError, match=r"sample\.png: an animation is written as GIF"):
        save_gif(np.ones((1, 2, 4, 4)), tmp_path / "sample.png")


def test_figures_are_written(tmp_path):
    row = {"train_loss": 1.0, "test_loss": 1.0, "train_acc1": 50.0, "test_acc1": 40.0}
    history = [{"epoch": epoch, **row} for epoch in (1, 2)]
    written = [
        figures.training_curves(history, tmp_path / "curves.png", "curves"),
        figures.firing_rate_chart({"a": 0.1, "b": 0.0}, tmp_path / "rates.png", "rates"),
        figures.event_strip(np.ones((1, 2, 4, 4)), tmp_path / "events.png", "events"),
    ]
    assert all(Image.open(path).size[0] > 100 for path in written)
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_events_on_paper_are_red_and_blue_on_white():
    frame = np.zeros((2, 1, 3))
    frame[0, 0, 1], frame[1, 0, 2] = 2, 2
    white, off, on = figures.on_white(frame)[0].tolist()
    assert white == [255, 255, 255]
    assert tuple(off) == figures.OFF
    assert tuple(on) == figures.ON


def test_curves_mark_chance_and_the_first_best_epoch(monkeypatch):
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: figure)
    rows = [(1, 10.0), (2, 60.0), (3, 60.0)]
    history = [{"epoch": e, "train_loss": 1, "test_loss": 1, "train_acc1": 5, "test_acc1": a} for e, a in rows]
    legend = figures.training_curves(history, "", "", 8).axes[1].get_legend()
    assert [text.get_text() for text in legend.texts][2:] == ["best test, 60.0 % at 2", "chance, 12.5 %"]


@pytest.mark.parametrize("kind, begin", [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_figures_are_vectors_too(tmp_path, kind, begin):
    path = figures.event_strip(np.ones((2, 2, 4, 4)), tmp_path / f"events.{kind}", "", (0.0, 1.5, 3.0))
    assert path.read_bytes().startswith(begin)
