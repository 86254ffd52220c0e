import pytest

from common.conversion import stages
from common.errors import UserError
from common.files import atomic_path


def test_a_stage_is_complete_with_just_the_files_it_was_marked_with(tmp_path):
    stages.mark(tmp_path, "events", ["b", "a"])
    assert [stages.is_complete(tmp_path, "events", names) for names in (["a", "b"], ["a"], ["a", "c"])] == [1, 0, 0]


def test_a_stage_without_a_marker_is_not_complete(tmp_path):
    assert not stages.is_complete(tmp_path, "events", [])


def test_a_stage_that_was_begun_is_not_complete(tmp_path):
    stages.begin(tmp_path / "new", "events", ["a"])
    assert not stages.is_complete(tmp_path / "new", "events", ["a"])


def test_marking_again_changes_no_file(tmp_path):
    stages.mark(tmp_path, "events", ["a"])
    before = (tmp_path / ".done/events.json").stat().st_mtime_ns
    stages.mark(tmp_path, "events", ["a"])
    assert (tmp_path / ".done/events.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("content", ["", "[]", '{"files": 1}'])
def test_a_damaged_marker_is_named(tmp_path, content):
    (tmp_path / ".done").mkdir()
    (tmp_path / ".done/events.json").write_text(content)
    with pytest.raises(UserError, match=r"events\.json: not a done-marker .* delete it"):
        stages.marked(tmp_path, "events")


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    for name in (".hidden", "a.0123abcd.npz", "events.npz", ".done/events.json"):
        with atomic_path(tmp_path / name) as temporary:
            temporary.touch()
        temporary.touch()
    (tmp_path / ".archive.0123abcd").mkdir()
    stages.remove_leftovers(tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert (files, (tmp_path / ".archive.0123abcd").exists()) == (
        [".done/events.json", ".hidden", "a.0123abcd.npz", "events.npz"],
        False,
    )
