import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from common.conversion.prepare import prepare
from common.errors import UserError
from common.tiny.events import write_tiny
from common.tiny.recordings import record_digit
from tests.common.conftest import LOADERS, NAMES, tree
from tests.marks import mostly_slow


def recording(digit=0, seed=0):
    return record_digit(load_digits().images[digit], 128, 128, np.random.default_rng(seed))


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_arguments_give_the_same_bytes(sources, tmp_path, name):
    assert hashes(write_tiny(name, tmp_path, classes=2, per_class=10)) == hashes(sources[name])


@pytest.mark.parametrize(
    ("name", "files"),
    [("dvs128", ["DvsGesture.tar.gz"]), ("cifar10dvs", ["0.zip", "1.zip"]), ("ncaltech101", ["Caltech101.zip"])],
)
def test_archives_carry_the_published_names(sources, name, files):
    assert sorted(path.name for path in sources[name].iterdir()) == [*files, "tiny.json"]


def test_a_second_call_changes_no_file(sources):
    before = tree(sources["dvs128"])
    write_tiny("dvs128", sources["dvs128"], classes=2, per_class=10)
    assert tree(sources["dvs128"]) == before


def test_other_arguments_replace_the_files(tmp_path):
    before = hashes(write_tiny("dvs128", tmp_path, classes=2, per_class=2))
    assert hashes(write_tiny("dvs128", tmp_path, classes=2, per_class=2, seed=1)) != before


@pytest.mark.parametrize(
    ("name", "settings"), [("mnist", {}), ("dvs128", {"classes": 11}), ("dvs128", {"per_class": 1})]
)
def test_impossible_requests_are_refused(tmp_path, name, settings):
    with pytest.raises(UserError, match="2 to 10 classes and 2 to 170 recordings"):
        write_tiny(name, tmp_path, **settings)


def test_events_are_sorted_by_time():
    assert (np.diff(recording()["t"]) >= 0).all()


def test_time_stamps_fall_between_the_simulated_moments():
    assert len(np.unique(recording()["t"] % 10_000)) > 1000


def test_both_polarities_occur_about_equally_often_on_a_closed_path():
    assert 0.4 < recording()["p"].mean() < 0.6


def test_a_brighter_picture_in_front_of_a_pixel_gives_on_events_first():
    bright = np.full((8, 8), 16.0)
    events = record_digit(bright, 64, 64, np.random.default_rng(0))
    below = events[(events["y"] > 40) & (events["t"] < 80_000)]
    assert below["p"].mean() > 0.8


@pytest.mark.parametrize("name", mostly_slow(NAMES, "cifar10dvs"))
def test_a_linear_classifier_reads_the_digits_of_unseen_recordings(tmp_path, name):
    source = write_tiny(name, tmp_path / "source", classes=3, per_class=20)
    root = prepare(LOADERS[name], source, tmp_path / "root", 4, downsample=8, workers=1).root
    train, test = (LOADERS[name](root, part, 4, downsample=8) for part in (True, False))
    counts = [np.sqrt(np.stack([frames.numpy().ravel() for frames, _ in part])) for part in (train, test)]
    model = LogisticRegression(max_iter=200).fit(counts[0], train.targets)
    assert model.score(counts[1], test.targets) >= 0.65
