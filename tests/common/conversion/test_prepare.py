import json
import shutil
import zipfile

import numpy as np
import pytest

from common.archives import extract
from common.conversion import cache, stages
from common.conversion.prepare import prepare
from common.datasets.cifar10_dvs import CIFAR10DVS
from common.datasets.dvs128_gesture import DVS128Gesture
from common.datasets.n_caltech101 import NCaltech101
from common.errors import OutputError, UserError
from common.events.aedat import encode_aedat2
from common.events.atis import write_atis
from common.events.event import EVENT
from tests.common.conftest import LOADERS, NAMES, T, tree
from tests.common.events.conftest import real_file
from tests.programs import run_source

KILLED = """
import os, signal, sys
import numpy as np
from common.conversion.prepare import prepare
from common.datasets.card import cards
kind, name, source, output = sys.argv[1:]
write, written = getattr(np, kind), []
def killed(path, **arrays):
    if len(written) == 5:
        path.write_bytes(b"half a file")
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(path)
    write(path, **arrays)
setattr(np, kind, killed)
prepare(cards()[name].loader, source, output, 3, workers=1)
"""


def recordings_below(folder):
    """{relative path: content} of all events and frames."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.npz")}


def write_bins(folder, *names, side=6):
    for number, name in enumerate(names):
        write_atis(folder / name, np.array([(0, 0, 0, 0), (5, side - 1, number % side, 1)], dtype=EVENT))


@pytest.mark.parametrize("name", NAMES)
def test_a_second_call_changes_no_file(sources, roots, name):
    before = tree(roots[name])
    prepare(LOADERS[name], sources[name], roots[name], T)
    assert tree(roots[name]) == before


@pytest.mark.parametrize("name", NAMES)
def test_unpacked_sources_give_the_same_conversion(sources, roots, tmp_path, name):
    for archive in sources[name].glob("*[!n]"):
        extract(archive, tmp_path / "source" / archive.name, suffixes=("",))
    root = prepare(LOADERS[name], tmp_path / "source", tmp_path / "out", T, workers=1).root
    assert recordings_below(root) == recordings_below(roots[name])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("dvs128", "savez"), ("cifar10dvs", "savez_compressed")])
def test_a_killed_conversion_is_continued(sources, roots, tmp_path, name, kind):
    assert run_source(KILLED, kind, name, sources[name], tmp_path).returncode == -9
    prepare(LOADERS[name], sources[name], tmp_path, T, workers=1)
    assert recordings_below(tmp_path) == recordings_below(roots[name])


@pytest.mark.slow
def test_a_killed_run_leaves_no_half_file_under_a_final_name(sources, tmp_path):
    run_source(KILLED, "savez", "cifar10dvs", sources["cifar10dvs"], tmp_path)
    names = cache.recordings_below(tmp_path / "events_np")
    assert len([cache.load_events(tmp_path / "events_np" / name) for name in names]) == 5


def test_unfinished_frames_are_finished_and_finished_ones_kept(roots, tmp_path):
    shutil.copytree(roots["cifar10dvs"], tmp_path, dirs_exist_ok=True)
    frames = tmp_path / "frames_number_3_split_by_number"
    first, *rest = sorted(frames.rglob("*.npz"))
    kept = first.stat().st_mtime_ns
    rest[0].unlink()
    CIFAR10DVS(tmp_path, True, T, workers=1)
    assert (first.stat().st_mtime_ns, rest[0].exists()) == (kept, True)


def test_missing_events_are_converted_again_and_the_others_kept(sources, roots, tmp_path):
    shutil.copytree(roots["cifar10dvs"], tmp_path, dirs_exist_ok=True)
    first, *rest = sorted((tmp_path / "events_np").rglob("*.npz"))
    kept = first.stat().st_mtime_ns
    rest[0].unlink()
    prepare(CIFAR10DVS, sources["cifar10dvs"], tmp_path, T, workers=1)
    assert (first.stat().st_mtime_ns, rest[0].exists()) == (kept, True)


def test_frames_are_enough_once_they_are_made(sources, roots, tmp_path):
    shutil.copytree(roots["cifar10dvs"], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "events_np")
    prepare(CIFAR10DVS, sources["cifar10dvs"], tmp_path, T, workers=1)
    assert not (tmp_path / "events_np").exists()


def test_a_cache_of_the_first_version_is_used_without_its_markers(roots, tmp_path):
    shutil.copytree(roots["cifar10dvs"], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / ".done")
    before = recordings_below(tmp_path)
    assert len(CIFAR10DVS(tmp_path, True, T, workers=1)) == 18
    assert recordings_below(tmp_path) == before


def test_every_stage_has_a_marker(roots):
    markers = sorted(path.stem for path in (roots["dvs128"] / stages.FOLDER).iterdir())
    assert markers == ["events_np", "frames_number_3_split_by_number", "unpacked"]


def test_two_processes_give_the_same_as_one(sources, roots, tmp_path):
    prepare(CIFAR10DVS, sources["cifar10dvs"], tmp_path, T, workers=2)
    assert recordings_below(tmp_path) == recordings_below(roots["cifar10dvs"])


def test_a_converted_source_is_used_where_it_is(roots, tmp_path):
    assert prepare(DVS128Gesture, roots["dvs128"], tmp_path / "out", T).root == roots["dvs128"]


def test_output_of_other_files_is_not_mixed_with_new_ones(sources, roots):
    with pytest.raises(UserError, match=r"was converted from other files .* choose another one"):
        prepare(NCaltech101, sources["dvs128"] / "DvsGesture.tar.gz", roots["ncaltech101"], T)


def test_gesture_samples_are_named_by_label_and_count(roots):
    names = [path.as_posix() for path in cache.recordings_below(roots["dvs128"] / "events_np")]
    assert names[:2] == ["test/0/user09_screen_0.npz", "test/0/user10_screen_0.npz"]


def test_times_of_cifar10_dvs_stay_unsigned(roots):
    events = cache.load_events(next((roots["cifar10dvs"] / "events_np" / "0").iterdir()))
    assert events["t"].min() >= 3_150_000_000


def test_a_folder_of_atis_recordings_is_accepted(tmp_path):
    write_bins(tmp_path / "raw", *(f"{label}/{number}.bin" for label in "ab" for number in range(10)))
    root = prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=1).root
    data = NCaltech101(root, True, 2)
    assert (len(data), data.num_classes, data.sensor_size) == (18, 2, (6, 6))


@pytest.mark.parametrize(("train", "test"), [("Train", "Test"), ("train", "TEST")])
def test_an_official_split_of_atis_recordings_is_kept(tmp_path, train, test):
    write_bins(tmp_path / "raw", f"{train}/a/1.bin", f"{train}/b/1.bin", f"{train}/b/2.bin", f"{test}/b/1.bin")
    root = prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=1).root
    assert (NCaltech101(root, True, 2).targets, NCaltech101(root, False, 2).targets) == ([0, 1, 1], [1])


def test_the_source_is_only_read(tmp_path):
    write_bins(tmp_path / "raw", *(f"a/{number}.bin" for number in range(10)))
    before = tree(tmp_path / "raw")
    prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=1)
    assert tree(tmp_path / "raw") == before


def test_real_n_mnist_is_converted(tmp_path):
    root = prepare(NCaltech101, real_file("nmnist_small"), tmp_path, 4, workers=1).root
    train, test = NCaltech101(root, True, 4), NCaltech101(root, False, 4)
    assert (len(train), len(test), train.num_classes, train.sensor_size) == (200, 85, 10, (34, 34))


def test_an_incomplete_published_set_is_reported(tmp_path):
    content = encode_aedat2(np.zeros(9, EVENT), orientation="cifar10dvs")
    with zipfile.ZipFile(tmp_path / "cat.zip", "w") as bundle:
        for number in range(10):
            bundle.writestr(f"cat/cifar10_cat_{number}.aedat", content)
    problems = prepare(CIFAR10DVS, tmp_path, tmp_path / "out", 2, workers=1).problems
    assert (len(problems), problems[3]) == (10, "cifar10dvs: cat: expected 1000, found 10")


def test_strict_refuses_an_incomplete_published_set(tmp_path):
    write_bins(tmp_path / "raw", "BACKGROUND_Google/image_0001.bin", "ant/image_0001.bin")
    with pytest.raises(UserError, match="class folders: expected 101, found 2"):
        prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=1, strict=True)


def test_the_published_set_keeps_its_sensor(tmp_path):
    write_bins(tmp_path / "raw", *(f"BACKGROUND_Google/{number}.bin" for number in range(10)))
    root = prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=1).root
    assert json.loads((root / "dataset.json").read_text())["sensor_size"] == [180, 240]


def test_a_damaged_recording_is_named(tmp_path):
    write_bins(tmp_path / "raw", "a/1.bin", "a/2.bin")
    (tmp_path / "raw" / "a" / "2.bin").write_bytes(bytes(7))
    with pytest.raises(UserError, match=r"raw/a/2\.bin: cut short at byte 5"):
        prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=2)


def test_what_cannot_be_read_is_named_at_the_end_and_may_be_removed_or_mended(tmp_path):
    write_bins(tmp_path / "raw", *(f"{category}/{number}.bin" for category in "ab" for number in range(4)))
    (tmp_path / "raw" / "a" / "1.bin").write_bytes(b"")
    (tmp_path / "raw" / "b" / "2.bin").write_bytes(bytes(7))
    with pytest.raises(UserError, match=r"^2 of 8 recordings could not .*a/1\.bin: .*an empty file; .*b/2\.bin: cut"):
        prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=1)
    assert len(recordings_below(tmp_path / "out")) == 12  # events and frames of the six others
    (tmp_path / "raw" / "a" / "1.bin").unlink()
    write_bins(tmp_path / "raw", "b/2.bin")
    assert prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=1).problems == []
    assert len(recordings_below(tmp_path / "out")) == 14
    (tmp_path / "raw" / "b" / "3.bin").unlink()
    with pytest.raises(UserError, match="was converted from other files"):
        prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=1)


def test_a_disk_that_is_full_stops_at_once(tmp_path, monkeypatch):
    write_bins(tmp_path / "raw", *(f"a/{number}.bin" for number in range(4)))
    tried = []

    def full(path, **_):
        tried.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="No space left"):
        prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2, workers=1)
    assert len(tried) == 1


def test_empty_samples_are_counted_and_named(tmp_path):
    for number in range(2):
        (tmp_path / "raw" / "a").mkdir(parents=True, exist_ok=True)
        events = np.zeros(number, EVENT)
        (tmp_path / "raw" / "a" / f"{number}.aedat").write_bytes(encode_aedat2(events, orientation="raw"))
    problems = prepare(CIFAR10DVS, tmp_path / "raw", tmp_path / "out", 2, workers=1).problems
    assert problems == ["cifar10dvs: 1 samples are empty: a/0.npz"]


@pytest.mark.parametrize("archive", ["zip", "tar", "zips in a zip"])
def test_archives_of_another_name_and_archives_in_archives_are_unpacked(tmp_path, archive):
    write_bins(tmp_path / "raw", *(f"Caltech101/{category}/{number}.bin" for category in "ab" for number in range(3)))
    (tmp_path / "got").mkdir()
    if archive == "zips in a zip":
        for category in "ab":
            shutil.make_archive(tmp_path / "zips" / category, "zip", tmp_path / "raw" / "Caltech101", category)
        shutil.make_archive(tmp_path / "got" / "all (1)", "zip", tmp_path / "zips")
    else:
        shutil.make_archive(tmp_path / "got" / "Caltech101 (1)", archive, tmp_path / "raw")
    prepare(NCaltech101, tmp_path / "got", tmp_path / "out", 2, workers=1)
    assert cache.facts(tmp_path / "out")["classes"] == ["a", "b"]
    assert len(recordings_below(tmp_path / "out")) == 12


@pytest.mark.parametrize("listed", ["../user01_lab.aedat", "user02_lab.aedat"])
def test_trial_lists_cannot_name_files_elsewhere(tmp_path, listed):
    source = tmp_path / "raw" / "DvsGesture"
    source.mkdir(parents=True)
    (source.parent / "user01_lab.aedat").touch()
    (source / "trials_to_train.txt").write_text(listed)
    (source / "trials_to_test.txt").touch()
    with pytest.raises(UserError, match=r"trials_to_train\.txt: 1 of 1 recordings are not in .*--skip-missing"):
        prepare(DVS128Gesture, tmp_path / "raw", tmp_path / "out", 2)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_source_is_named_with_where_to_get_the_data(tmp_path, name):
    with pytest.raises(UserError, match=r"raw: expected .* fetch them from https"):
        prepare(LOADERS[name], tmp_path / "raw", tmp_path / "out", 2)


def test_recordings_outside_class_folders_are_refused(tmp_path):
    write_bins(tmp_path / "raw", "1.bin", "2.bin")
    with pytest.raises(UserError, match=r"no \*\.bin recordings in class folders"):
        prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2)


def test_recordings_of_the_same_name_are_refused(tmp_path):
    write_bins(tmp_path / "raw", "one/a/1.bin", "two/a/1.bin")
    with pytest.raises(UserError, match=r"2 recordings would become a/1\.npz"):
        prepare(NCaltech101, tmp_path / "raw", tmp_path / "out", 2)


def test_source_and_output_may_be_the_same_folder(tmp_path):
    write_bins(tmp_path, *(f"a/{number}.bin" for number in range(10)))
    prepare(NCaltech101, tmp_path, tmp_path, 2, workers=1)
    assert prepare(NCaltech101, tmp_path, tmp_path, 3, workers=1).root == tmp_path


def test_lists_of_windows_are_read_and_missing_recordings_named_or_skipped(sources, tmp_path):
    extract(sources["dvs128"] / "DvsGesture.tar.gz", tmp_path / "raw", suffixes=("",))
    (listing,) = (tmp_path / "raw").rglob("trials_to_train.txt")
    names = listing.read_text().split()
    listing.write_bytes("\r\n".join(names).encode("utf-8-sig"))
    for name in names[:2]:
        (listing.parent / name).unlink()
    with pytest.raises(UserError, match=f"2 of {len(names)} recordings are not in .*{names[0]}, {names[1]}; .*--skip-"):
        prepare(DVS128Gesture, tmp_path / "raw", tmp_path / "out", 2, workers=1)
    prepare(DVS128Gesture, tmp_path / "raw", tmp_path / "out", 2, workers=1, skip_missing=True)
    found = {path.name.rpartition("_")[0] for path in (tmp_path / "out" / "events_np" / "train").rglob("*.npz")}
    assert found == {name.removesuffix(".aedat") for name in names[2:]}
