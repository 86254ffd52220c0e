from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.conversion import stages
from common.conversion.split import save_split
from common.conversion.view import Entry, View
from common.errors import UserError
from tools import data_checks as checks
from tools.data_checks import Reading

ROOT = Path("/data")


def view(*rows, read=None, uniform=False, stage="events_np", folder=ROOT):
    """A view with an entry per (part, class, file, recording)."""
    entries = [Entry(part, category, folder / name, *recording) for part, category, name, *recording in rows]
    return View(stage, folder, entries, read, uniform)


def test_samples_are_counted_per_class_and_part():
    entries = view(("train", "b", "1"), ("train", "b", "2"), ("test", "a", "3")).entries
    assert checks.count(entries) == {"a": {"test": 1}, "b": {"train": 2}}


def test_classes_that_are_numbers_are_ordered_as_numbers():
    assert list(checks.count(view(*(("train", str(label), "x") for label in (10, 2, 0))).entries)) == ["0", "2", "10"]


@given(st.lists(st.tuples(st.sampled_from(["train", "test"]), st.sampled_from("abc"), st.text("xyz")), max_size=20))
def test_the_last_line_of_the_table_counts_every_sample(rows):
    last = checks.count_table(checks.count(view(*rows).entries)).splitlines()[-1]
    assert sum(map(int, last.split()[1:])) == len(rows)


def test_counts_are_compared_by_part_class_and_number_of_classes():
    counts = {"a": {"train": 3, "test": 1}, "b": {"train": 2}}
    assert checks.compare_counts(counts, {"train": 5, "test": 2, "a": 4, "c": 1, "classes": 2}) == [
        "test: expected 2, found 1",
        "c: expected 1, found 0",
    ]


def test_a_recording_in_both_parts_is_found_by_its_name():
    found = checks.leaks_by_name(
        view(("train", "0", "user01_led_0", "user01"), ("test", "1", "user01_led_4", "user01"))
    )
    assert found == ["the recording user01 is in train (user01_led_0) and in test (user01_led_4)"]


def test_names_that_identify_no_recording_are_no_leak():
    assert checks.leaks_by_name(view(("train", "0", "1.bin"), ("test", "0", "1.bin"))) == []


def test_two_samples_of_a_recording_in_one_part_are_no_leak():
    assert checks.leaks_by_name(view(("train", "0", "a", "user01"), ("train", "1", "b", "user01"))) == []


def test_the_same_content_in_both_parts_is_found_whatever_its_name():
    both = view(("train", "0", "a", "a"), ("train", "0", "b", "b"), ("test", "1", "c", "c"))
    readings = [Reading(sha256=digest) for digest in ("1", "2", "1")]
    assert checks.leaks_by_content(both, readings) == ["the same content is in train (a) and in test (c)"]


def test_empty_samples_are_not_taken_for_copies():
    both = view(("train", "0", "a"), ("test", "0", "b"), read=lambda entry: np.zeros((2, 2, 4, 4)))
    assert checks.leaks_by_content(both, checks.read_all(both, 1)) == []


def test_content_is_compared_as_values_not_as_bytes_of_files():
    frames = np.arange(32.0).reshape(2, 2, 2, 4)
    both = view(("train", "0", "a"), ("test", "0", "b"), read=lambda entry: frames.copy())
    assert len(checks.leaks_by_content(both, checks.read_all(both, 1))) == 1


def test_damaged_samples_do_not_end_the_reading():
    def read(entry):
        if entry.path.name == "b":
            raise UserError("b: damaged")
        return np.ones(3)

    one = view(("train", "0", "a"), ("train", "0", "b"), ("train", "0", "c"), read=read)
    assert checks.reading_problems(one, checks.read_all(one, 1)) == ["b: damaged"]


def test_a_sample_of_another_shape_is_named():
    one = view(*(("train", "0", name) for name in "abc"), read=lambda entry: np.ones(2 + (entry.path.name == "b")))
    problems = checks.reading_problems(
        View(one.stage, one.folder, one.entries, one.read, True), checks.read_all(one, 1)
    )
    assert problems == ["b: float64 [3], the others are float64 [2]; delete it and convert it again"]


def test_frames_that_events_have_and_frames_have_not_are_told():
    events = view(("train", "0", "train/0/a"), ("train", "0", "train/0/b"))
    frames = view(("train", "0", "train/0/a"), stage="frames_number_4_split_by_number")
    assert checks.coverage_problems([events, frames]) == [
        "frames_number_4_split_by_number: 1 of 2 recordings are missing, train/0/b among them; run the prepare command "
        "again"
    ]


def test_files_that_a_complete_stage_lost_are_told(tmp_path):
    stages.mark(tmp_path, "events_np", ["a", "b"])
    problems = checks.marker_problems(tmp_path, view(("train", "0", "a"), folder=tmp_path))
    assert problems == ["events_np: not as the conversion left it (2 files then, 1 now); run the prepare command again"]


def test_an_interrupted_stage_is_told(tmp_path):
    stages.begin(tmp_path, "events_np", ["a", "b"])
    problems = checks.marker_problems(tmp_path, view(("train", "0", "a"), folder=tmp_path))
    assert problems == ["events_np: interrupted with 1 of 2 files made; run the prepare command again"]


@pytest.mark.parametrize(("now", "problems"), [("train/0/a", 0), ("test/0/a", 1)])
def test_a_sample_that_moved_to_the_other_part_is_told(tmp_path, now, problems):
    stored = view(("train", "0", "train/0/a"), ("train", "0", "train/0/b"), folder=tmp_path)
    save_split(tmp_path / "split.json", checks.as_split(stored), "published")
    moved = view((now.partition("/")[0], "0", now), ("train", "0", "train/0/b"), folder=tmp_path)
    assert len(checks.manifest_problems(tmp_path, moved)) == problems
