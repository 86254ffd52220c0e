import numpy as np
import pytest
from PIL import Image

from common.datasets.cifar import cifar
from common.datasets.imagenet import imagenet
from common.errors import UserError
from common.pictures import read_picture

RAMP = np.linspace(0, 65535, 4096).reshape(64, 64).astype(np.uint16)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_sixteen_bits_keep_their_brightness(tmp_path, suffix, mode):
    Image.fromarray(RAMP).save(tmp_path / f"a.{suffix}")
    grey = np.asarray(read_picture(tmp_path / f"a.{suffix}", mode))
    assert np.array_equal(grey[..., 0] if mode == "RGB" else grey, RAMP >> 8)


@pytest.mark.parametrize("values", [RAMP.astype(np.float32) / 65535, RAMP.astype(np.int32) - 5])
def test_values_of_no_known_range_are_refused(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f\.tif: has values from .* \(mode [FI]\)"):
        read_picture(tmp_path / "f.tif", "RGB")


def test_a_picture_beyond_the_limits_is_named(tmp_path, monkeypatch):
    Image.fromarray(RAMP).save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match=r"big\.png: cannot be read as an image"):
        read_picture(tmp_path / "big.png", "RGB")


def test_litter_is_no_class_and_no_picture(tmp_path):
    litter = (".ipynb_checkpoints/a.png", "__MACOSX/a.png", "cat/._a.png", "cat/.ipynb_checkpoints/a.png")
    for name in ("cat/a.png", "dog/a.png", *litter):
        for part in ("train", "val"):
            (tmp_path / part / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(tmp_path / part / name)
    (tmp_path / "train" / "Thumbs.db").touch()
    (tmp_path / "train" / "desktop.ini").mkdir()
    images = imagenet(tmp_path, True, None)
    assert (images.classes, images.targets) == (["cat", "dog"], [0, 1])


def test_small_images_of_another_size_are_named(tmp_path):
    (tmp_path / "train" / "cat").mkdir(parents=True)
    Image.new("RGB", (28, 32)).save(tmp_path / "train" / "cat" / "a.png")
    with pytest.raises(UserError, match=r"a\.png: has 28 x 32 pixels, expected 32 x 32"):
        cifar("cifar10", tmp_path, True, None)[0]
