"""Tiny data of MA-SNN, read back by its loaders."""

import hashlib

import pytest

from common.datasets.dvs_gait import DVSGait
from common.tiny.events import write_tiny_gait
from ma_snn.data.cifar10_dvs_mat import CIFAR10DVSMat, write_tiny_cifar10dvs
from ma_snn.data.dvs_gesture_hdf5 import DVSGestureHDF5, write_tiny_gesture

WRITERS = {
    "mat": (write_tiny_cifar10dvs, CIFAR10DVSMat, {"classes": 2, "per_class": 10}, (18, 2)),
    "gait": (write_tiny_gait, DVSGait, {"classes": 2, "per_class": 10}, (18, 2)),
    "gesture": (write_tiny_gesture, DVSGestureHDF5, {"classes": 2, "users": 24}, (46, 2)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_loader_finds_training_and_test_recordings(name, tmp_path):
    write, dataset, settings, counts = WRITERS[name]
    root = write(tmp_path, **settings)
    assert tuple(len(dataset(root, train, T=2, dt=100_000)) for train in (True, False)) == counts


@pytest.mark.parametrize("name", WRITERS)
def test_a_sample_shows_events_and_its_class(name, tmp_path):
    write, dataset, settings, _ = WRITERS[name]
    data = dataset(write(tmp_path, **settings), False, T=2, dt=100_000, shrink=4)
    samples = [data[index] for index in range(2)]
    assert [label for _, label in samples] == [0, 1]
    assert all(frames.sum() > 1000 for frames, _ in samples)


def test_the_same_seed_gives_the_same_text(tmp_path):
    hashes = set()
    for folder in "ab":
        write_tiny_gait(tmp_path / folder, classes=2, per_class=2)
        hashes.add(hashlib.sha256((tmp_path / folder / "test/1/001.txt").read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_a_second_call_writes_nothing(tmp_path):
    write_tiny_cifar10dvs(tmp_path, classes=2, per_class=2)
    (tmp_path / "0" / "0.mat").unlink()
    write_tiny_cifar10dvs(tmp_path, classes=2, per_class=2)
    assert not (tmp_path / "0" / "0.mat").exists()
