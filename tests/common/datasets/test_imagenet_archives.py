"""The published archives of ImageNet, made of a few tiny images, become class folders."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from common.conversion.stages import UNPACKING
from common.datasets.imagenet import imagenet
from common.datasets.imagenet_archives import GROUND_TRUTH, KIT, TRAIN, VAL
from common.errors import UserError
from tools import convert_dataset

SYNSETS = ("n01440764", "n01443537", "n01484850")
LABELS = (3, 1, 2, 3)
"""Of the validation images; label i is synset i, which its images show by their grey."""


def picture(grey):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(stream, format="JPEG")
    return stream.getvalue()


def packed(files, mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as bundle:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            bundle.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def kit():
    fields = ("ILSVRC2012_ID", "WNID", "words", "num_children", "num_train_images")
    rows = [(number, synset, "a fish", 0, 2) for number, synset in enumerate(SYNSETS, start=1)]
    rows.append((4, "n00000001", "a group", 3, 0))
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array(rows, dtype=[(name, object) for name in fields])})
    files = {"data/meta.mat": meta.getvalue(), f"data/{GROUND_TRUTH}": "\n".join(map(str, LABELS)).encode()}
    return {f"ILSVRC2012_devkit_t12/{name}": content for name, content in files.items()}


def train():
    return {
        f"{synset}.tar": packed({f"{synset}_{number}.JPEG": picture(50 * index) for number in range(2)})
        for index, synset in enumerate(SYNSETS, start=1)
    }


def val():
    return {f"ILSVRC2012_val_{number:08}.JPEG": picture(50 * label) for number, label in enumerate(LABELS, start=1)}


@pytest.fixture
def source(tmp_path):
    """Writes the three archives; returns their folder."""

    def write(train=train, val=val, kit=kit):
        folder = tmp_path / "downloads"
        folder.mkdir(exist_ok=True)
        (folder / TRAIN).write_bytes(packed(train()))
        (folder / VAL).write_bytes(packed(val()))
        (folder / KIT).write_bytes(packed(kit(), "w:gz"))
        return folder

    return write


@pytest.fixture
def prepare(tmp_path, capsys):
    """Runs the command; returns the folder that it made and what it said."""

    def call(folder, *flags):
        convert_dataset.main(["prepare", "imagenet", "--source", str(folder), "--output", str(tmp_path / "o"), *flags])
        return tmp_path / "o", capsys.readouterr()

    return call


def test_the_archives_become_class_folders_with_the_labels_of_the_kit(source, prepare):
    root, said = prepare(source())
    assert (said.out, said.err) == (f"ready: {root}\n", "")
    assert sorted(path.name for path in root.iterdir()) == ["train", "val"]
    for is_training, count in ((True, 6), (False, 4)):
        images = imagenet(root, is_training, np.asarray)
        assert (images.classes, len(images)) == (list(SYNSETS), count)
        assert all(abs(int(image.mean()) - 50 * (label + 1)) <= 2 for image, label in images)
    prepare(source())  # again: what is there is kept


def test_an_interrupted_conversion_goes_on(source, prepare, tmp_path):
    half = tmp_path / "o" / UNPACKING
    (half / "train" / SYNSETS[0]).mkdir(parents=True)
    for number in range(2):
        (half / "train" / SYNSETS[0] / f"{number}.JPEG").write_bytes(picture(50))  # kept as it is
    (half / "images").mkdir()
    (half / "val" / SYNSETS[2]).mkdir(parents=True)
    for number, (name, content) in enumerate(val().items()):
        (half / ("images" if number else f"val/{SYNSETS[2]}") / name).write_bytes(content)
    root, _ = prepare(source())
    assert sorted(path.name for path in (root / "train" / SYNSETS[0]).iterdir()) == ["0.JPEG", "1.JPEG"]
    assert sum(1 for _ in root.glob("val/*/*.JPEG")) == 4


def test_another_number_of_training_images_is_a_warning_or_strictly_an_error(source, prepare):
    def one_less():
        return train() | {f"{SYNSETS[1]}.tar": packed({"a.JPEG": picture(1)})}

    _, said = prepare(source(train=one_less))
    assert f"{SYNSETS[1]} has 1 images, the development kit says 2" in said.err
    with pytest.raises(UserError, match="the development kit says 2"):
        prepare(source(train=one_less), "--strict")


def without(files, name):
    return {key: content for key, content in files.items() if key != name}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"val": lambda: without(val(), "ILSVRC2012_val_00000002.JPEG")}, "has 3 images, the .* labels for 4"),
        ({"train": lambda: without(train(), f"{SYNSETS[2]}.tar")}, f"1 synsets are missing, such as {SYNSETS[2]}"),
        ({"train": lambda: train() | {"../n01440764.tar": b""}}, "is no archive of a synset"),
        ({"train": lambda: train() | {f"{SYNSETS[0]}.tar": packed({"../x.JPEG": b""})}}, "points outside"),
        ({"train": lambda: train() | {f"{SYNSETS[0]}.tar": b"nothing"}}, "neither a zip nor a tar"),
        ({"kit": lambda: {f"data/{GROUND_TRUTH}": b"1"}}, "not the development kit"),
    ],
    ids=["validation image", "synset", "name", "path", "inner archive", "kit"],
)
def test_archives_that_are_not_the_published_ones_are_refused(source, prepare, changed, reason):
    with pytest.raises(UserError, match=reason):
        prepare(source(**changed))


def test_a_missing_archive_is_named(source, prepare):
    folder = source()
    (folder / KIT).unlink()
    with pytest.raises(UserError, match=f"there is no {KIT}: fetch it"):
        prepare(folder)
