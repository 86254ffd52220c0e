"""CIFAR10-DVS of MA-SNN, from `.mat` and `.aedat` recordings."""

import numpy as np
import pytest
import torch

from common.errors import UserError
from common.events.aedat import write_aedat2
from common.events.event import EVENT
from common.events.matlab import write_matlab
from ma_snn.data.cifar10_dvs_mat import CIFAR10DVSMat, read_aedat_as_matlab
from tests.common.datasets.recordings import walk


@pytest.fixture
def cifar(tmp_path):
    """Two classes of twenty `.mat` recordings."""
    for category in ("frog", "cat"):
        for number in range(20):
            write_matlab(tmp_path / category / f"{number}.mat", walk(50_000, seed=number))
    return tmp_path


def test_the_last_tenth_of_the_numbers_is_tested(cifar):
    names = [f"{path.parent.name}/{path.stem}" for path in CIFAR10DVSMat(cifar, False, T=4, dt=1000).paths]
    assert names == ["cat/18", "cat/19", "frog/18", "frog/19"]


def test_labels_follow_the_sorted_class_names(cifar):
    data = CIFAR10DVSMat(cifar, True, T=4, dt=1000)
    assert [data[i][1] for i in (0, 17, 18, 35)] == [0, 0, 1, 1]


def test_aedat_recordings_give_the_frames_of_mat_recordings(cifar, tmp_path):
    events = walk(50_000, seed=0)
    raw = events.copy()
    raw["x"], raw["p"], raw["t"] = 127 - events["x"], 1 - events["p"], events["t"] + 3_150_000_000
    write_aedat2(tmp_path / "other/cat/cifar10_cat_0.aedat", raw, orientation="raw")
    (frames, _), (others, _) = (
        CIFAR10DVSMat(root, True, T=4, dt=10_000, random_start=False)[0] for root in (cifar, tmp_path / "other")
    )
    assert torch.equal(frames, others)


def test_a_turn_of_the_clock_is_undone(tmp_path):
    late = np.array([((1 << 32) - 5, 0, 0, 0), (3, 0, 0, 0), (7, 0, 0, 0)], EVENT)
    write_aedat2(tmp_path / "0.aedat", late, orientation="raw")
    assert read_aedat_as_matlab(tmp_path / "0.aedat")["t"].tolist() == [0, 8, 12]


def test_a_truncated_aedat_is_named(tmp_path):
    write_aedat2(tmp_path / "cat/cifar10_cat_0.aedat", walk(1000), orientation="raw")
    path = tmp_path / "cat/cifar10_cat_0.aedat"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"cifar10_cat_0\.aedat: cut short at byte"):
        CIFAR10DVSMat(tmp_path, True, T=4, dt=1000)[0]


def test_an_event_outside_the_sensor_is_refused_with_its_file(tmp_path):
    write_matlab(tmp_path / "cat/0.mat", np.array([(0, 128, 0, 0)], EVENT))
    with pytest.raises(UserError, match=r"0\.mat: x runs from 128"):
        CIFAR10DVSMat(tmp_path, True, T=4, dt=1000)[0]


def test_a_root_without_recordings_names_the_layout(tmp_path):
    with pytest.raises(UserError, match=r"expected <class>/<number>\.mat or"):
        CIFAR10DVSMat(tmp_path, True, T=4, dt=1000)
