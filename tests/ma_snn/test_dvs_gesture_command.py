"""The command that converts DvsGesture.tar.gz."""

import shutil

import pytest

from common.errors import UserError
from common.tiny.events import write_tiny
from ma_snn.data.dvs_gesture_hdf5 import DVSGestureHDF5
from ma_snn.DVSGestures.data.DVS_Gesture import main


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_tiny("dvs128", tmp_path_factory.mktemp("raw"), classes=2, per_class=25) / "DvsGesture.tar.gz"


@pytest.fixture
def root(archive, tmp_path):
    shutil.copy(archive, tmp_path)
    return tmp_path


def convert(root):
    main(["--data-path", str(root), "--workers", "1"])


def test_the_archive_becomes_loadable_gestures(root):
    convert(root)
    assert [len(DVSGestureHDF5(root, train, T=2, dt=1000)) for train in (True, False)] == [46, 4]


def test_the_number_of_gestures_is_printed(root, capsys):
    convert(root)
    assert f"{root / 'train'}: 46 gestures\n{root / 'test'}: 4 gestures" in capsys.readouterr().out


def test_a_second_call_makes_only_what_is_missing(root):
    convert(root)
    first, *_, last = DVSGestureHDF5.find(root, "train")
    before = last.stat().st_mtime_ns
    first.unlink()
    convert(root)
    assert first.exists() and last.stat().st_mtime_ns == before


def test_an_unpacked_folder_needs_no_archive(root):
    convert(root)
    (root / "DvsGesture.tar.gz").unlink()
    shutil.rmtree(root / "train")
    convert(root)
    assert len(DVSGestureHDF5.find(root, "train")) == 46


def test_nothing_to_convert_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected DvsGesture\.tar\.gz"):
        convert(tmp_path)
