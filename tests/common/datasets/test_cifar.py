from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from common.datasets import cifar as module
from common.datasets.cifar import STATISTICS, cifar, datasets, download, eval_transform, train_transform
from common.errors import UserError
from common.tiny.images import write_tiny_images

REAL = Path(__file__).parents[4] / "shared" / "data" / "cifar10_jpg"


@pytest.fixture(scope="module", params=STATISTICS)
def tiny(request, tmp_path_factory):
    """(name, folder) of a tiny CIFAR."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, write_tiny_images(request.param, folder, per_class=2, test_per_class=1)


@pytest.mark.parametrize("train, per_class", [(True, 2), (False, 1)])
def test_images_come_with_labels_and_classes(tiny, train, per_class):
    name, folder = tiny
    images = cifar(name, folder, train, eval_transform(name), published=False)
    image, label = images[0]
    assert len(images) == per_class * len(images.classes)
    assert (image.shape, image.dtype, label) == ((3, 32, 32), torch.float32, 0)


def test_the_folder_with_the_files_may_be_given_itself(tiny):
    name, folder = tiny
    assert len(cifar(name, folder / datasets()[name].base_folder, False, None, published=False))


def test_files_that_are_not_the_published_ones_are_never_unpickled(tiny, monkeypatch):
    name, folder = tiny
    monkeypatch.setattr(torchvision.datasets.cifar.pickle, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(UserError, match="checksums are wrong"):
        cifar(name, folder, True, None)


@pytest.mark.parametrize("name", STATISTICS)
def test_missing_data_say_where_to_get_and_put_them(tmp_path, name):
    with pytest.raises(UserError, match=rf"--download, else fetch {datasets()[name].url} .*{tmp_path}.*--data-path"):
        cifar(name, tmp_path, True, None)


@pytest.mark.parametrize("name", STATISTICS)
def test_pixels_are_normalised_by_the_colours_of_the_data_set(name):
    mean, std = STATISTICS[name]
    white = eval_transform(name)(Image.new("RGB", (32, 32), "white"))
    assert np.allclose(white[:, 0, 0], (1 - np.array(mean)) / std)


def test_pixels_may_stay_between_0_and_1():
    white = eval_transform("cifar10", normalise=False)(Image.new("RGB", (32, 32), "white"))
    assert (white == 1).all()


def test_training_images_are_shifted_and_mirrored():
    picture = Image.fromarray(np.random.default_rng(0).integers(1, 256, (32, 32, 3), dtype=np.uint8))
    augment, plain = train_transform("cifar10", normalise=False), eval_transform("cifar10", normalise=False)(picture)
    draws = [augment(picture) for _ in range(1500)]
    assert any(torch.equal(draw, plain) for draw in draws)
    assert any(torch.equal(draw, plain.flip(2)) for draw in draws)
    assert any((draw[:, :4] == 0).all() for draw in draws)


def test_augmentation_can_be_left_out():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert torch.equal(train_transform("cifar10", augment=False)(picture), eval_transform("cifar10")(picture))


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("File not found or corrupted.")])
def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module.datasets()["cifar10"], "download", fail)
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz could not be fetched .*another machine"):
        download("cifar10", tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs real images in ../shared/data")
@pytest.mark.parametrize("train, count", [(True, 400), (False, 100)])
def test_real_images_in_class_folders_can_be_used_too(train, count):
    images = cifar("cifar10", REAL, train, train_transform("cifar10"))
    assert (len(images), images[0][0].shape, images.classes[0]) == (count, (3, 32, 32), "airplane")
