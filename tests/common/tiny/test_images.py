import pickle

import numpy as np
import pytest
import torchvision
from PIL import Image
from sklearn.linear_model import RidgeClassifier

from common.errors import UserError
from common.tiny.images import paint_digit, write_tiny_images
from tests.common.conftest import tree

NAMES = ("cifar10", "cifar100", "imagenet")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{name: a tiny data set}, three training images and one test image per class."""
    root = tmp_path_factory.mktemp("tiny")
    return {name: write_tiny_images(name, root / name, per_class=3, test_per_class=1) for name in NAMES}


def batch(path):
    return pickle.loads(path.read_bytes(), encoding="latin1")


def test_cifar10_has_the_published_files_and_fields(folders):
    folder = folders["cifar10"] / torchvision.datasets.CIFAR10.base_folder
    names = {name for name, _ in torchvision.datasets.CIFAR10.train_list + torchvision.datasets.CIFAR10.test_list}
    assert {path.name for path in folder.iterdir()} == {*names, "batches.meta"}
    assert {"data", "labels", "filenames", "batch_label"} <= batch(folder / "data_batch_1").keys()


def test_cifar_pixels_are_bytes_in_rows_of_three_planes(folders):
    data = batch(folders["cifar10"] / "cifar-10-batches-py" / "test_batch")["data"]
    assert (data.shape, data.dtype) == ((10, 3072), np.uint8)


def test_every_class_of_cifar10_has_its_images(folders):
    batches = [batch(folders["cifar10"] / "cifar-10-batches-py" / f"data_batch_{n}")["labels"] for n in range(1, 6)]
    assert np.bincount(np.concatenate(batches)).tolist() == [3] * 10


def test_the_labels_of_cifar100_are_fine_and_coarse(folders):
    folder = folders["cifar100"] / torchvision.datasets.CIFAR100.base_folder
    names, test = batch(folder / "meta"), batch(folder / "test")
    assert names["fine_label_names"][test["fine_labels"][7]] == "digit7"
    assert names["coarse_label_names"][test["coarse_labels"][7]] == "from_5"


def test_imagenet_is_a_tree_of_jpegs(folders):
    files = sorted(folders["imagenet"].glob("*/*/*.JPEG"))
    assert [len(list(folders["imagenet"].glob(f"{part}/*/*.JPEG"))) for part in ("train", "val")] == [30, 10]
    assert {Image.open(path).format for path in files} == {"JPEG"}


def test_no_two_images_are_the_same(folders):
    pixels = [batch(folders["cifar100"] / "cifar-100-python" / part)["data"] for part in ("train", "test")]
    assert len(np.unique(np.concatenate(pixels), axis=0)) == 40


@pytest.mark.parametrize("name", NAMES)
def test_the_same_arguments_give_the_same_bytes(folders, tmp_path, name):
    again = write_tiny_images(name, tmp_path, per_class=3, test_per_class=1)
    for path in folders[name].rglob("*.*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(folders[name])).read_bytes()


def test_another_seed_gives_other_images(folders, tmp_path):
    other = write_tiny_images("cifar10", tmp_path, per_class=3, test_per_class=1, seed=1)
    name = "cifar-10-batches-py/test_batch"
    assert (batch(other / name)["data"] != batch(folders["cifar10"] / name)["data"]).any()


def test_a_written_folder_is_left_alone(folders):
    before = tree(folders["imagenet"])
    write_tiny_images("imagenet", folders["imagenet"], per_class=3, test_per_class=1)
    assert tree(folders["imagenet"]) == before


@pytest.mark.parametrize("name, per_class", [("mnist", 3), ("cifar10", 0), ("cifar10", 170), ("cifar100", 170)])
def test_what_cannot_be_written_is_refused(tmp_path, name, per_class):
    with pytest.raises(UserError, match="images per class"):
        write_tiny_images(name, tmp_path, per_class=per_class, test_per_class=1)


@pytest.mark.parametrize("hue, channel", [(0.0, 0), (1 / 3, 1), (2 / 3, 2)], ids=["red", "green", "blue"])
def test_the_ink_has_the_colour_of_its_hue(hue, channel):
    picture = paint_digit(np.full((8, 8), 16.0), 32, 32, hue, np.random.default_rng(0))
    assert picture.astype(int).reshape(-1, 3).sum(0).argmax() == channel


def test_a_linear_classifier_reads_some_of_the_digits(tmp_path):
    folder = write_tiny_images("cifar10", tmp_path, per_class=60, test_per_class=20) / "cifar-10-batches-py"
    train, test = [batch(folder / f"data_batch_{number}") for number in range(1, 6)], batch(folder / "test_batch")
    model = RidgeClassifier().fit(
        np.concatenate([ink(part) for part in train]), np.concatenate([part["labels"] for part in train])
    )
    assert model.score(ink(test), test["labels"]) > 0.25


def ink(content):
    """The brightest colour of each pixel, `[N, 1024]`."""
    return content["data"].reshape(-1, 3, 1024).max(1) / 255
