"""Shards hold the pictures of class folders, and a loader draws them in the same order."""

import io
import os
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets.imagenet import imagenet, train_transform
from common.datasets.shards import INDEX, Shards, _write_shard
from common.errors import UserError
from common.tiny.images import write_tiny_images
from common.training import Process, make_loader
from common.training.loaders import start_epoch
from tools import convert_dataset


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Class folders, with a picture that could take the names of two others, and their shards of seven pictures."""
    root = write_tiny_images("imagenet", tmp_path_factory.mktemp("folders") / "x", per_class=3, test_per_class=1)
    first = next((root / "train").rglob("*.JPEG"))
    first.rename(first.with_name("a.b.JPEG"))
    Image.open(first.with_name("a.b.JPEG")).convert("L").save(first.with_name("a_b.png"))
    Image.open(first.with_name("a.b.JPEG")).save(first.with_name("a_b_2.png"))
    shards = root.parent / "shards"
    shard(root, shards)
    return root, shards


def shard(root, shards, size=7):
    convert_dataset.main(["shard", "imagenet", "--source", str(root), "--output", str(shards), "--size", str(size)])


def epoch(root, rank=0, world=1, workers=0):
    process = Process(rank, world, rank, torch.device("cpu"))
    data = imagenet(root, True, train_transform(16))
    loader = make_loader(data, 4, train=True, process=process, workers=workers)
    start_epoch(loader, 3)
    return list(loader)


@pytest.mark.parametrize("rank, world, workers", [(0, 1, 0), (0, 1, 2), (1, 2, 0)])
def test_folders_and_shards_give_the_same_samples_in_the_same_order(folders, rank, world, workers):
    ours, theirs = (epoch(root, rank, world, workers) for root in reversed(folders))
    assert len(ours) == len(theirs) > 1
    for (images, labels), (other_images, other_labels) in zip(ours, theirs, strict=True):
        assert torch.equal(images, other_images) and torch.equal(labels, other_labels)


def test_shards_have_the_classes_labels_and_names_of_the_folders(folders):
    files, shards = (imagenet(root, True, None) for root in folders)
    assert (shards.classes, shards.targets, len(shards)) == (files.classes, files.targets, len(files))
    assert [label for _, label in shards.samples] == shards.targets
    assert len({path for path, _ in shards.samples}) == len(files)
    assert [path.rpartition(".")[2].lower() for path, _ in shards.samples] == [
        path.rpartition(".")[2].lower() for path, _ in files.samples
    ]


def test_a_shard_is_read_from_beginning_to_end_as_webdataset_does(folders):
    root, shards = folders
    seen = {}
    for path in sorted((shards / "train").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                seen.setdefault(key, {})[ending] = tar.extractfile(member).read()
    files = imagenet(root, True, None)
    assert len(seen) == len(files)
    for key, parts in seen.items():
        (ending,) = parts.keys() - {"cls"}
        assert files.classes[int(parts["cls"])] == key.partition("/")[0]
        Image.open(io.BytesIO(parts[ending])).verify()


def test_writing_goes_on_where_it_was_interrupted_and_gives_the_same_bytes(folders, tmp_path, monkeypatch):
    root, shards = folders
    written = []

    def write(path, pictures):
        if len(written) == 2:
            raise OSError(28, "No space left on device", str(path))
        written.append(path.name)
        _write_shard(path, pictures)

    monkeypatch.setattr("common.datasets.shards._write_shard", write)
    with pytest.raises(OSError):
        shard(root, tmp_path / "x")
    monkeypatch.undo()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "x").rglob("*.tar")}
    assert len(before) == 2 and not list((tmp_path / "x").rglob(INDEX))
    shard(root, tmp_path / "x")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    for path in shards.rglob("*.tar"):
        assert (tmp_path / "x" / path.relative_to(shards)).read_bytes() == path.read_bytes()


def test_other_sizes_replace_the_shards(folders, tmp_path):
    root, shards = folders
    shard(root, tmp_path, size=2)
    shard(root, tmp_path, size=7)
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == sorted(
        path.name for path in (shards / "train").iterdir()
    )


@pytest.mark.parametrize("verb", [("check", "--quick"), ("preview", "--samples", "2")])
def test_the_other_verbs_read_shards(folders, tmp_path, monkeypatch, capsys, verb):
    monkeypatch.chdir(tmp_path)
    name, *flags = verb
    convert_dataset.main([name, "imagenet", str(folders[1]), *flags])


def spoil(field, value):
    def change(folder):
        with np.load(folder / INDEX) as file:
            arrays = dict(file)
        arrays[field] = np.array(value) if value is not None else arrays[field][:-1]
        np.savez(folder / INDEX, **arrays)

    return change


def cut(folder):
    os.truncate(folder / "000001.tar", 1000)


@pytest.mark.parametrize(
    "damage, words",
    [
        (spoil("labels", None), "labels is no list"),
        (spoil("names", [1.5]), "names is no list"),
        (spoil("names", np.array([2**31 - 1, 97], np.uint32).view("U1")), "no index of shards"),
        (spoil("shards", [2**62] * 32), "impossible numbers"),
        (spoil("offsets", [2**63 - 1] * 32), "impossible numbers"),
        (cut, "missing or shorter"),
        (lambda folder: (folder / "000000.tar").unlink(), "missing or shorter"),
        (lambda folder: (folder / INDEX).write_bytes(b"PK"), "no index of shards"),
    ],
)
def test_damaged_shards_are_refused_in_one_line(folders, tmp_path, damage, words):
    shard(folders[0], tmp_path)
    damage(tmp_path / "train")
    with pytest.raises(UserError, match=words):
        Shards(tmp_path / "train", None)


def test_shards_of_shards_and_of_events_are_refused(folders, tmp_path):
    with pytest.raises(UserError, match="shards already"):
        shard(folders[1], tmp_path)
    with pytest.raises(UserError, match="is not put into shards; these are: imagenet"):
        convert_dataset.main(["shard", "dvs128", "--source", str(tmp_path), "--output", str(tmp_path / "x")])
