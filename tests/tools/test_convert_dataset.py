"""The tool on tiny data of every data set, in the containers they were published in."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.conversion import cache
from common.datasets import cifar
from common.datasets.n_caltech101 import NCaltech101
from common.errors import UserError
from common.events.event import EVENT
from tests.common.events.conftest import real_file
from tests.programs import run_program, run_source
from tools import convert_dataset
from tools.data_sets import data_sets

TOOL = Path(__file__).parents[2] / "tools" / "convert_dataset.py"
CONVERTED = {
    "dvs128": ["-T", "3"],
    "cifar10dvs": ["-T", "3"],
    "ncaltech101": ["-T", "3"],
    "dvs_gesture": [],
    "cifar10dvs_mat": [],
    "dvs_gait": [],
}
"""Data sets that are converted, and the flags for it."""
CLASSIFIED = ("cifar10", "cifar100", "imagenet")
SCENES = ("coco", "ade20k")
PICTURES = (*CLASSIFIED, *SCENES)

KILLED = """
import json, os, signal, sys
from pathlib import Path
from tools import convert_dataset

replace, left = Path.replace, 7

def counted(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

def kills(command):
    for count in range(1000):
        child = os.fork()
        if child == 0:
            Path.replace = counted
            convert_dataset.main(command)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            return count
        assert os.WTERMSIG(status) == signal.SIGKILL, status

commands = json.loads(sys.argv[1])
print(json.dumps({name: kills(command) for name, command in commands.items()}))
"""
"""Run each command again and again, killed whenever it is about to give its eighth file the final name."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    """{data set: folder as its authors published it}, 2 classes each."""
    folder = tmp_path_factory.mktemp("sources")
    few = {"per_class": 2, "test_per_class": 1}
    events = {"classes": 2, "per_class": 10}
    settings = {name: events for name in ("dvs128", "cifar10dvs", "ncaltech101", "dvs_gait")}
    settings |= {"hardvs": {"classes": 2, **few}, **dict.fromkeys(CLASSIFIED, few)}
    settings |= {name: {"train": 3, "test": 2, "side": 64} for name in SCENES}
    found = {name: data_sets()[name].write_tiny(folder / name, **sizes) for name, sizes in settings.items()}
    found["dvs_gesture"] = data_sets()["dvs128"].write_tiny(folder / "users", classes=2, per_class=25)
    return found | {"cifar10dvs_mat": found["cifar10dvs"]}


@pytest.fixture(scope="module")
def tiny_cifar():
    """Let the tiny CIFAR files, which have no published checksums, be read."""
    with pytest.MonkeyPatch.context() as patch:
        for name, cls in cifar.datasets().items():
            patch.setitem(cifar.datasets(), name, cifar._unchecked(cls))
        yield


@pytest.fixture(scope="module")
def roots(sources, tiny_cifar, tmp_path_factory) -> dict[str, Path]:
    """{data set: folder that `prepare` made ready}; tests only read it."""
    folder = tmp_path_factory.mktemp("roots")
    for name, flags in CONVERTED.items():
        main("prepare", name, "--source", sources[name], "--output", folder / name, "--workers", 1, *flags)
    return {name: folder / name if name in CONVERTED else source for name, source in sources.items()}


@pytest.fixture(scope="module")
def killed(sources, tmp_path_factory) -> dict[str, tuple[int, Path]]:
    """{data set: (how often its conversion was killed before it came to its end, what it made)}."""
    folder = tmp_path_factory.mktemp("killed")
    commands = {
        name: [name, "--source", str(sources[name]), "--output", str(folder / name), "--workers", "1", *flags]
        for name, flags in CONVERTED.items()
    }
    result = run_source(KILLED, json.dumps(commands))
    assert result.returncode == 0, result.stderr
    return {name: (count, folder / name) for name, count in json.loads(result.stdout.splitlines()[-1]).items()}


@pytest.fixture
def copy(roots, tmp_path):
    """A copy of a prepared data set that may be spoilt."""
    return lambda name: Path(shutil.copytree(roots[name], tmp_path / name))


def main(*arguments):
    convert_dataset.main([str(argument) for argument in arguments])


def files_below(folder):
    """{relative path: content} of all files, hidden ones too."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def problems_of(capsys, name, root):
    """The lines that `check` prints about what is wrong."""
    with pytest.raises(UserError, match=r"\d+ problems with .* mend them and check again"):
        main("check", name, root, "--workers", 1)
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]


def test_an_archive_becomes_a_loadable_data_set(sources, tmp_path):
    words = ("--output", tmp_path, "-T", "5", "--split-by", "time", "--downsample", "6", "--workers", "2")
    result = run_program(TOOL, "ncaltech101", "--source", sources["ncaltech101"] / "Caltech101.zip", *words)
    frames, _ = NCaltech101(tmp_path, False, 5, "time", downsample=6)[0]
    assert (result.returncode, result.stdout, frames.shape) == (0, f"ready: {tmp_path}\n", (5, 2, 30, 40))


def test_a_mistake_ends_in_one_line_and_status_2(tmp_path):
    result = run_program(TOOL, "check", "dvs128", tmp_path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("name", CONVERTED)
def test_a_conversion_that_is_killed_again_and_again_gives_the_same_bytes(roots, killed, name):
    times, root = killed[name]
    assert (times > 1, files_below(root)) == (True, files_below(roots[name]))


@pytest.mark.parametrize("name", CONVERTED)
def test_a_second_prepare_changes_no_file(sources, roots, name):
    def times():
        return {path: path.stat().st_mtime_ns for path in roots[name].rglob("*") if path.is_file()}

    before = times()
    main("prepare", name, "--source", sources[name], "--output", roots[name], "--workers", 1, *CONVERTED[name])
    assert times() == before


def published_fragment(folder):
    """A source that claims to be N-Caltech101 and holds one of its 101 classes."""
    (folder / "BACKGROUND_Google").mkdir(parents=True)
    for number in range(10):
        (folder / "BACKGROUND_Google" / f"image_{number:04d}.bin").write_bytes(bytes(5))
    return folder


def test_missing_recordings_are_a_warning(tmp_path, capsys):
    source = published_fragment(tmp_path / "in")
    main("ncaltech101", "--source", source, "--output", tmp_path / "o", "-T", 2, "--workers", 1)
    assert "warning: ncaltech101: class folders: expected 101, found 1\n" in capsys.readouterr().err


def test_missing_recordings_are_an_error_when_strict(tmp_path):
    source = published_fragment(tmp_path / "in")
    with pytest.raises(UserError, match="class folders: expected 101, found 1"):
        main("ncaltech101", "--source", source, "--output", tmp_path / "o", "-T", 2, "--strict")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["dvs128", "--output", "o"],
            r"prepare dvs128 needs -T: python tools/convert_dataset\.py prepare dvs128 .*-T 16",
        ),
        (["dvs128", "-T", "4"], r"prepare dvs128 needs --output: .* --output data/DVS128Gesture -T 16"),
        (["dvs_gait", "--output", "o", "-T", "4"], r"prepare dvs_gait has no use for -T; say only: .* --output o$"),
        (["cifar10", "--output", "o"], r"prepare cifar10 has no use for --output; say only: .* --source s$"),
    ],
)
def test_flags_too_few_or_too_many_are_told_with_the_command_that_works(arguments, message):
    with pytest.raises(UserError, match=message):
        main("prepare", *arguments, "--source", "s")


@pytest.mark.parametrize("verb", ["prepare", "check", "split", "preview", "list"])
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main(verb, "--help")
    assert (end.value.code, f"{verb} [-h]" in capsys.readouterr().out) == (0, True)


@pytest.mark.parametrize("name", data_sets())
def test_a_missing_source_is_told_with_what_to_fetch(name, tmp_path):
    flags = ["--output", tmp_path / "o", *CONVERTED.get(name, [])] if data_sets()[name].convert else []
    with pytest.raises(UserError, match=f"{tmp_path}.*http"):
        main("prepare", name, "--source", tmp_path / "none", *flags)


@pytest.mark.parametrize("name", [name for name in data_sets() if name not in cifar.STATISTICS])
def test_a_prepared_data_set_has_no_problem(roots, name, capsys):
    main("check", name, roots[name], "--workers", 1)
    assert capsys.readouterr().out.endswith(f"{roots[name]}: no problem found\n")


@pytest.mark.parametrize("name", cifar.STATISTICS)
def test_all_that_is_wrong_with_a_tiny_cifar_is_its_size(roots, capsys, name):
    found = problems_of(capsys, name, roots[name])
    assert all("expected" in line for line in found)


def test_counts_are_shown_per_class_and_part(roots, capsys):
    main("check", "cifar10dvs", roots["cifar10dvs"], "--workers", 1)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:5]]
    assert lines == [["class", "train", "test"], ["0", "9", "1"], ["1", "9", "1"], ["all", "18", "2"]]


def test_a_quick_check_reads_some_samples(roots, capsys, monkeypatch):
    monkeypatch.setattr(convert_dataset, "QUICK", 3)
    main("check", "dvs_gait", roots["dvs_gait"], "--quick", "--workers", 1)
    assert "read 3 of 20 samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("dvs128", "frames*/*/*/*.npz"),
        ("cifar10dvs", "events_np/*/*.npz"),
        ("dvs_gesture", "train/*.hdf5"),
        ("cifar10dvs_mat", "*/*.aedat"),
        ("dvs_gait", "npy/*/*/*.npy"),
        ("hardvs", "test/*/*/*.png"),
        ("imagenet", "val/*/*.JPEG"),
    ],
)
def test_a_truncated_file_is_named(copy, capsys, name, pattern):
    root = copy(name)
    path = min(root.glob(pattern))
    path.write_bytes(path.read_bytes()[:-3] if name == "cifar10dvs_mat" else path.read_bytes()[:200])
    found = problems_of(capsys, name, root)
    assert [str(path) in line for line in found] == [True]


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("dvs_gesture", "train/DVS-Gesture-train1.hdf5", "test/DVS-Gesture-test1.hdf5"),
        ("dvs_gait", "npy/train/0/000.txt.npy", "npy/test/0/009.txt.npy"),
        ("cifar10dvs_mat", "0/cifar10_0_0.aedat", "0/cifar10_0_9.aedat"),
        ("imagenet", "train/digit0/0000.JPEG", "val/digit0/0002.JPEG"),
    ],
)
def test_a_recording_that_is_in_both_parts_under_two_names_is_a_leak(copy, capsys, name, train, test):
    root = copy(name)
    shutil.copy(root / train, root / test)
    found = problems_of(capsys, name, root)
    assert (len(found), "the same content is in " in found[0]) == (1, True)


def test_gestures_of_one_recording_in_both_parts_are_a_leak(copy, capsys):
    root = copy("dvs_gesture")
    path = root / "gestures.json"
    cut_from = json.loads(path.read_text())
    path.write_text(json.dumps(cut_from | {"test/DVS-Gesture-test1.hdf5": cut_from["train/DVS-Gesture-train1.hdf5"]}))
    found = problems_of(capsys, "dvs_gesture", root)
    assert found == [
        "problem: the recording user01_screen is in train (train/DVS-Gesture-train1.hdf5) and in test "
        "(test/DVS-Gesture-test1.hdf5)"
    ]


def test_a_frame_file_that_is_missing_is_told_with_the_remedy(copy, capsys):
    root = copy("dvs128")
    min(root.glob("frames*/train/0/*.npz")).unlink()
    found = problems_of(capsys, "dvs128", root)
    assert all(line.endswith("run the prepare command again") for line in found)


def test_a_sample_that_moved_to_the_other_part_is_told(copy, capsys):
    root = copy("dvs_gait")
    (root / "npy/train/0/000.txt.npy").rename(root / "npy/test/0/000.txt.npy")
    assert any("split.json: lists" in line for line in problems_of(capsys, "dvs_gait", root))


def test_an_interrupted_conversion_is_told(copy):
    root = copy("dvs128")
    (root / ".extract").mkdir()
    with pytest.raises(UserError, match="was interrupted; run the same prepare command again"):
        main("check", "dvs128", root)


def test_a_split_is_saved_with_seed_counts_and_hash(roots, capsys):
    main("split", "cifar10dvs", roots["cifar10dvs"])
    *table, where, digest = capsys.readouterr().out.splitlines()
    stored = json.loads((roots["cifar10dvs"] / "split.json").read_text())
    assert (table[-1].split(), where, digest) == (
        ["all", "18", "2"],
        f"{roots['cifar10dvs'] / 'split.json'}: seed 3404, 90% of each class train",
        f"sha256 {stored['sha256']}",
    )


@pytest.mark.parametrize("name", CONVERTED)
def test_prepare_saves_the_split(roots, name):
    assert (roots[name] / "split.json").exists()


def test_a_saved_split_gives_way_to_no_other_seed(copy):
    root = copy("cifar10dvs")
    before = (root / "split.json").read_bytes()
    with pytest.raises(
        UserError, match=r"split\.json: holds another split \(seed 3404.*delete it for one with --seed 7"
    ):
        main("split", "cifar10dvs", root, "--seed", 7)
    assert (root / "split.json").read_bytes() == before


def test_a_deleted_split_can_be_drawn_with_another_seed(copy):
    root = copy("ncaltech101")
    (root / "split.json").unlink()
    main("split", "ncaltech101", root, "--seed", 7)
    assert json.loads((root / "split.json").read_text())["seed"] == 7


def test_the_first_split_has_a_file_of_its_own(copy):
    root = copy("cifar10dvs")
    main("split", "cifar10dvs", root, "--first")
    stored = json.loads((root / "split_first.json").read_text())
    assert stored["classes"]["0"]["test"] == ["0/cifar10_0_9.npz"]


def test_a_published_split_takes_no_seed(roots):
    with pytest.raises(UserError, match=r"is divided already .* leave out --seed and --first"):
        main("split", "dvs128", roots["dvs128"], "--seed", 1)


def test_the_split_of_checksummed_files_is_only_shown(roots, capsys):
    main("split", "cifar10", roots["cifar10"])
    assert capsys.readouterr().out.splitlines()[-2].split() == ["all", "20", "10"]


@pytest.mark.parametrize("name", [name for name in data_sets() if name not in PICTURES])
def test_a_preview_of_recordings_is_a_strip_and_an_animation_each_and_an_overview(roots, name, tmp_path):
    main("preview", name, roots[name], "--samples", 2, "--output", tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gif", ".gif", ".png", ".png", ".png"]


@pytest.mark.parametrize("name", PICTURES)
def test_a_preview_of_pictures_is_one_grid(roots, name, tmp_path):
    main("preview", name, roots[name], "--samples", 9, "--format", "pdf", "--output", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["overview.pdf"]


def test_an_animation_shows_the_frames_that_are_asked_for(roots, tmp_path):
    main("preview", "dvs128", roots["dvs128"], "-T", 5, "--samples", 1, "--output", tmp_path)
    assert Image.open(next(tmp_path.glob("*.gif"))).n_frames == 5


def test_frames_of_another_number_cannot_be_drawn_without_events(copy, tmp_path):
    root = copy("dvs128")
    shutil.rmtree(root / "events_np")
    with pytest.raises(UserError, match="-T 5: there are no events to cut, only frames_number_3_split_by_number"):
        main("preview", "dvs128", root, "-T", 5, "--output", tmp_path / "pictures")


@pytest.mark.parametrize("name", ["hardvs", "imagenet", "cifar10"])
def test_what_needs_no_conversion_is_said_to_be_ready(roots, name, capsys):
    main("prepare", name, "--source", roots[name])
    assert capsys.readouterr().out == f"nothing to convert: {roots[name]} is laid out as the loaders expect\n"


def test_every_data_set_is_listed_with_the_command_that_prepares_it(capsys):
    main("list")
    text = capsys.readouterr().out
    assert all(f"convert_dataset.py prepare {name} --source" in text for name in data_sets())


def test_a_cache_of_the_authors_is_checked_as_it_is(tmp_path, capsys):
    for number in range(10):
        path = tmp_path / "frames_number_2_split_by_number" / "cat" / f"cifar10_cat_{number}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, frames=np.full((2, 2, 4, 4), number + 1.0))
    assert problems_of(capsys, "cifar10dvs", tmp_path)[0] == "problem: airplane: expected 1000, found 0"
    assert not (tmp_path / "split.json").exists()


def test_real_n_mnist_passes_every_verb(tmp_path, capsys):
    main("ncaltech101", "--source", real_file("nmnist_small"), "--output", tmp_path / "o", "-T", 4, "--workers", 1)
    for verb in ("check", "split", "preview"):
        main(verb, "ncaltech101", tmp_path / "o", *(["--output", tmp_path / "p"] if verb == "preview" else []))
    assert "all        200       85" in capsys.readouterr().out


def test_check_names_empty_samples_and_clocks_that_step_back(copy, capsys):
    root = copy("cifar10dvs")
    empty, backwards = sorted((root / cache.EVENTS).rglob("*.npz"))[:2]
    cache.save_events(empty, np.zeros(0, EVENT))
    cache.save_events(backwards, cache.load_events(backwards)[::-1])
    main("check", "cifar10dvs", root, "--workers", 1)
    said = capsys.readouterr().out
    assert f"note: 1 samples are empty: {empty.relative_to(root / cache.EVENTS)}" in said
    assert f"the clock of 1 recordings steps back: {backwards.relative_to(root / cache.EVENTS)}" in said


def test_skip_missing_is_for_sets_with_lists(tmp_path):
    with pytest.raises(UserError, match="prepare cifar10dvs has no use for --skip-missing"):
        main("prepare", "cifar10dvs", "--source", tmp_path, "--output", tmp_path / "o", "-T", 2, "--skip-missing")
