import errno

import pytest

from common.errors import UserError
from common.files import atomic_path, make_folder, sha256


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "result.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_place_that_cannot_be_written_is_named(tmp_path, number):
    with pytest.raises(UserError, match=r"cannot write .*result\.txt"), atomic_path(tmp_path / "result.txt"):
        raise OSError(number, "no")


def test_an_error_that_is_not_about_writing_passes_through(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "result.txt"):
        (tmp_path / "source").read_text()


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot create the folder"):
        make_folder(tmp_path / "file" / "folder")


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")
