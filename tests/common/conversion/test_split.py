import json

import numpy as np
import pytest

from common.conversion.split import first_split, load_split, make_split, read_split, save_split
from common.errors import UserError
from tests.common.events.conftest import FIXTURE

NAMES = {"b": [f"{number}.npz" for number in range(20)], "a": [f"{number}.npz" for number in range(7)]}


@pytest.mark.parametrize("dataset", ["cifar10dvs", "ncaltech101"])
def test_split_equals_the_original_one_on_sorted_files(dataset):
    with np.load(FIXTURE) as bundle:
        expected = json.loads(bundle["meta"].tobytes())["split"][dataset]
    names = {category: [f"s{number:03d}.npz" for number in range(count)] for category, count in expected["counts"]}
    split = make_split(names, expected["seed"])
    assert {category: sorted(parts["test"]) for category, parts in split.items()} == expected["test"]


def test_split_does_not_depend_on_the_order_of_the_file_system():
    reverse = {category: files[::-1] for category, files in reversed(NAMES.items())}
    assert make_split(reverse, 1) == make_split(NAMES, 1)


def test_first_nine_tenths_of_each_class_train():
    assert {category: len(parts["train"]) for category, parts in make_split(NAMES, 1).items()} == {"a": 6, "b": 18}


def test_a_stored_split_is_used_again_whatever_the_seed(tmp_path):
    first = load_split(tmp_path, NAMES, 1)
    assert load_split(tmp_path, NAMES, 2) == first


def test_another_seed_gives_another_split():
    assert make_split(NAMES, 1) != make_split(NAMES, 2)


@pytest.mark.parametrize("change", [lambda files: [*files, "new.npz"], lambda files: files[1:]])
def test_files_that_differ_from_the_stored_split_are_refused(tmp_path, change):
    load_split(tmp_path, NAMES, 1)
    with pytest.raises(UserError, match=r"split\.json: lists 27 recordings, the folder holds 2[68]"):
        load_split(tmp_path, {**NAMES, "a": change(NAMES["a"])}, 1)


def test_a_split_edited_by_hand_is_refused(tmp_path):
    load_split(tmp_path, NAMES, 1)
    content = json.loads((tmp_path / "split.json").read_text())
    content["classes"]["a"]["train"].append(content["classes"]["a"]["test"].pop())
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"split\.json: the lists do not match their sha256"):
        load_split(tmp_path, NAMES, 1)


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_damaged_manifest_is_refused(tmp_path, content):
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(UserError, match=r"split\.json: not a split manifest"):
        load_split(tmp_path, NAMES, 1)


def test_the_first_nine_tenths_by_name_are_rounded_up():
    assert first_split(NAMES)["a"] == {"train": [f"{number}.npz" for number in range(7)], "test": []}


def test_names_are_ordered_as_text():
    assert first_split(NAMES)["b"]["test"] == ["8.npz", "9.npz"]


def test_a_saved_split_is_read_back_with_its_rule(tmp_path):
    saved = save_split(tmp_path / "split.json", first_split(NAMES), "by name")
    assert read_split(tmp_path / "split.json") == saved


def test_saving_the_same_split_again_changes_no_file(tmp_path):
    path = tmp_path / "split.json"
    save_split(path, first_split(NAMES), "by name")
    before = path.stat().st_mtime_ns
    save_split(path, first_split(NAMES), "by name")
    assert path.stat().st_mtime_ns == before


def test_another_split_is_not_overwritten(tmp_path):
    load_split(tmp_path, NAMES, 1)
    with pytest.raises(UserError, match=r"another split \(seed 1, 90% of each class train\), which is not overwritten"):
        save_split(tmp_path / "split.json", first_split(NAMES), "by name")
