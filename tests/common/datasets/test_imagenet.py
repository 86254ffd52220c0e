from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from common.datasets.imagenet import MEAN, STD, check_classes, eval_transform, imagenet, load_rgb, train_transform
from common.errors import UserError
from common.tiny.images import write_tiny_images

REAL = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A tiny ImageNet; tests only read it."""
    return write_tiny_images("imagenet", tmp_path_factory.mktemp("imagenet"), per_class=2, test_per_class=1)


@pytest.mark.parametrize("train, count", [(True, 20), (False, 10)])
def test_images_come_as_normalised_squares_with_the_label_of_their_folder(root, train, count):
    images = imagenet(root, train, (train_transform if train else eval_transform)(64))
    image, label = images[count - 1]
    assert (len(images), image.shape, image.dtype, label) == (count, (3, 64, 64), torch.float32, 9)


@pytest.mark.parametrize("name", ["validation", "test"])
def test_the_evaluation_part_may_have_another_name(root, tmp_path, name):
    (tmp_path / name).symlink_to(root / "val")
    assert len(imagenet(tmp_path, False, eval_transform(32))) == 10


def test_evaluation_sees_the_centre_of_the_image_at_256_of_224(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    expected = (picture[16:240, 16:240] / 255 - MEAN) / STD
    actual = eval_transform(224)(Image.fromarray(picture)).permute(1, 2, 0)
    assert np.abs(actual.numpy() - expected).max() < 1e-5


def test_a_narrow_image_is_scaled_by_its_short_side():
    assert eval_transform(224)(Image.new("RGB", (100, 400))).shape == (3, 224, 224)


def test_training_images_are_never_mirrored_as_such():
    assert not any(isinstance(step, v2.RandomHorizontalFlip) for step in train_transform().transforms)


def test_training_uses_auto_augment_unless_told_otherwise():
    counts = [
        sum(isinstance(step, v2.AutoAugment) for step in train_transform(auto_augment=switch).transforms)
        for switch in (True, False)
    ]
    assert counts == [1, 0]


def test_crops_have_at_least_the_smallest_area():
    ramp = Image.fromarray(np.tile(np.arange(100, dtype=np.uint8), (100, 1))).convert("RGB")
    transform = train_transform(32, min_area=0.9, auto_augment=False)
    widths = [(image.max() - image.min()) * STD[0] * 255 for image in (transform(ramp)[0] for _ in range(30))]
    assert min(widths) > 75


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_every_kind_of_image_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("image.png" if mode == "RGBA" else "image.jpg")
    Image.new(mode, (8, 8)).save(path)
    assert load_rgb(str(path)).mode == "RGB"


def test_missing_data_say_what_was_looked_for_and_where_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*/val or .*/validation or .*/test; .*image-net\.org.*--data-path"):
        imagenet(tmp_path, False, eval_transform())


def test_validation_images_without_class_folders_are_explained(tmp_path):
    (tmp_path / "val").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(UserError, match="validation images sorted into class folders"):
        imagenet(tmp_path, False, eval_transform())


def test_an_empty_class_folder_is_named(tmp_path):
    (tmp_path / "train" / "n01440764").mkdir(parents=True)
    with pytest.raises(UserError, match="n01440764"):
        imagenet(tmp_path, True, eval_transform())


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"no image"])
def test_a_damaged_image_is_named(root, tmp_path, damage):
    path = tmp_path / "image.JPEG"
    path.write_bytes(damage(next(root.glob("val/*/*.JPEG")).read_bytes()))
    with pytest.raises(UserError, match=r"image\.JPEG: cannot be read as an image"):
        load_rgb(str(path))


def test_parts_with_different_classes_are_refused(root, tmp_path):
    (tmp_path / "val").mkdir()
    for digit in range(9):
        (tmp_path / "val" / f"digit{digit}").symlink_to(root / "val" / f"digit{digit}")
    with pytest.raises(UserError, match="only one has digit9"):
        check_classes(imagenet(root, True, eval_transform()), imagenet(tmp_path, False, eval_transform()))


@pytest.mark.skipif(not (REAL / "imagenet_samples").is_dir(), reason="needs real images in ../shared/data")
def test_real_images_pass_both_transforms(tmp_path):
    for part in ("train", "val"):
        (tmp_path / part).symlink_to(REAL / "imagenet_samples")
    train = imagenet(tmp_path, True, train_transform())
    test = imagenet(tmp_path, False, eval_transform())
    assert len(train.classes) == 48
    assert {images[index][0].shape for images in (train, test) for index in (0, 20, 47)} == {(3, 224, 224)}
