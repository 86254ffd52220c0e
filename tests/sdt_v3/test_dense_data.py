"""Data of detection and segmentation: what is read, what is refused, and what augmentation does to both."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import UserError
from common.tiny.scenes import CLASSES, run_lengths, scenes, write_tiny_scenes
from sdt_v3.data import dense_transforms as transforms
from sdt_v3.data.ade20k import SceneParsing
from sdt_v3.data.coco import CocoInstances

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def annotation(number, image=1, category=7, box=(10, 10, 20, 20), segmentation=SQUARE, **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": [*box], "area": box[2] * box[3],
            "iscrowd": 0, "segmentation": segmentation} | more  # fmt: skip


@pytest.fixture
def coco(tmp_path):
    """Writes both parts of a data set with these annotations of pictures of 64 x 48 pixels."""

    def write(*annotations, images=1, mode="RGB", size=(64, 48)):
        listed = [{"id": n, "file_name": f"{n}.png", "height": 48, "width": 64} for n in range(1, images + 1)]
        content = {"images": listed, "annotations": list(annotations),
                   "categories": [{"id": 9, "name": "late"}, {"id": 7, "name": "early"}]}  # fmt: skip
        (tmp_path / "annotations").mkdir(exist_ok=True)
        for part in ("train", "val"):
            (tmp_path / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
            (tmp_path / part).mkdir(exist_ok=True)
            for image in listed:
                kind = "JPEG" if mode == "CMYK" else "PNG"
                Image.new(mode, size).save(tmp_path / part / image["file_name"], kind)
        return tmp_path

    return write


def test_scenes_have_exact_masks_and_the_same_digits_never_train_and_test(tmp_path):
    data = CocoInstances(write_tiny_scenes("coco", tmp_path / "coco", train=6, test=2), True)
    picture, target = data.read(0)
    assert data.classes == [*CLASSES] and data.category_ids == [1, 4, 7, 10]
    for box, mask in zip(target["boxes"].long().tolist(), target["masks"], strict=True):
        y, x = torch.where(mask)
        assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    assert target["masks"].sum(0).max() == 1, "a pixel shows one object"
    assert target["masks"].shape[1:] == picture.size[::-1]
    ades = SceneParsing(write_tiny_scenes("ade20k", tmp_path / "ade", train=6, test=2), True)
    assert ades.classes == ["ground", *CLASSES]
    labels = ades.read(0)[1]
    assert (labels[:2] == 255).all() and set(np.unique(labels[2:])) <= set(range(5))
    with pytest.raises(UserError, match="expected a name of coco, ade20k"):
        write_tiny_scenes("voc", tmp_path, train=1, test=1)


def test_run_lengths_are_column_by_column():
    mask = np.array([[0, 1, 1], [0, 0, 1]], bool)
    assert run_lengths(mask) == {"size": [2, 3], "counts": [2, 1, 1, 2]}
    assert run_lengths(~mask)["counts"] == [0, 2, 1, 1, 2]
    assert next(scenes("val", 1, 64, np.random.default_rng(0)))[0].max() > 150


def test_category_ids_with_gaps_become_labels_in_their_order(coco):
    data = CocoInstances(coco(annotation(1, category=9), annotation(2)), True)
    assert data.read(0)[1]["labels"].tolist() == [1, 0] and data.classes == ["early", "late"]


def test_what_cannot_be_learnt_is_left_out(coco):
    crowd = annotation(2, image=2, iscrowd=1, segmentation=run_lengths(np.ones((48, 64), bool)))
    flat = annotation(3, image=3, box=(10, 10, 0, 20))
    outside = annotation(4, image=4, box=(80, 10, 20, 20))
    line = annotation(5, image=5, segmentation=[[1, 1, 5, 5]])
    root = coco(annotation(1), crowd, flat, outside, line, images=6)
    assert [image["id"] for image in CocoInstances(root, True).images] == [1]
    assert len(CocoInstances(root, False)) == 6, "all pictures are evaluated"


def test_boxes_and_polygons_beyond_the_picture_are_cut(coco):
    wide = annotation(1, box=(-10, 40, 30, 30), segmentation=[[-10, 40, 20, 40, 20, 70, -10, 70]])
    _, target = CocoInstances(coco(wide), True).read(0)
    assert target["boxes"].tolist() == [[0, 40, 20, 48]]
    y, x = torch.where(target["masks"][0])
    assert (x.min(), y.min(), x.max(), y.max()) == (0, 40, 19, 47)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA"])
def test_pictures_of_other_kinds_are_read_as_rgb(coco, mode):
    picture, _ = CocoInstances(coco(annotation(1), mode=mode), True).read(0)
    assert picture.mode == "RGB"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train" / "1.png").unlink(), "there is no picture .*1.png, which .*instances_train.json"),
        (lambda root: (root / "train" / "1.png").write_text("no"), "1.png: cannot be read as an image"),
        (lambda root: Image.new("RGB", (9, 9)).save(root / "train" / "1.png"), "1.png is 9 x 9, but 64 x 48 in"),
    ],
)
def test_a_picture_that_does_not_fit_its_annotations_is_refused(coco, spoil, message):
    root = coco(annotation(1))
    spoil(root)
    with pytest.raises(UserError, match=message):
        CocoInstances(root, True)[0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([annotation(1, image=5)], "annotation 1 is of image 5, which is not listed"),
        ([annotation(1, category=8)], "annotation 1 has category 8, which is not listed"),
        ([{"id": 1, "image_id": 1, "category_id": 7}], "annotations 1 lacks bbox, segmentation"),
    ],
)
def test_annotations_of_nothing_are_refused(coco, rows, message):
    with pytest.raises(UserError, match=message):
        CocoInstances(coco(*rows), True)


def test_missing_and_damaged_files_are_named(tmp_path, coco):
    with pytest.raises(UserError, match=r"there is no file .*instances_train2017.json.*--data_path"):
        CocoInstances(tmp_path / "nowhere", True)
    root = coco(annotation(1))
    (root / "annotations" / "instances_train.json").write_text("{")
    with pytest.raises(UserError, match=r"instances_train.json: cannot be read as COCO annotations"):
        CocoInstances(root, True)
    (root / "annotations" / "instances_train.json").write_text("[]")
    with pytest.raises(UserError, match="there is no list 'images'"):
        CocoInstances(root, True)
    content = json.loads((root / "annotations" / "instances_val.json").read_text())
    content["images"][0]["file_name"] = "../../etc/passwd"
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="leads out of"):
        CocoInstances(root, True).read(0)


@pytest.fixture
def folders(tmp_path):
    """Writes pictures and maps of labels, the same in both parts."""

    def write(labels, size=(6, 4), classes=None):
        for part in ("training", "validation"):
            for kind in ("images", "annotations"):
                (tmp_path / kind / part).mkdir(parents=True, exist_ok=True)
            Image.new("L", size).save(tmp_path / "images" / part / "a.jpg")
            Image.fromarray(np.array(labels, np.uint8)).save(tmp_path / "annotations" / part / "a.png")
        if classes:
            (tmp_path / "classes.txt").write_text("\n".join(classes))
        return tmp_path

    return write


MAP = [[0, 1, 2, 3, 255, 1]] * 4


def test_label_0_is_ignored_and_classes_count_from_1(folders):
    data = SceneParsing(folders(MAP), True)
    assert data.classes == ["1", "2", "3"], "without a list, as many as the largest label says"
    assert data.read(0)[1][0].tolist() == [255, 0, 1, 2, 255, 0]
    assert SceneParsing(folders(MAP, classes=["a", "b", "c", "d"]), True).classes == ["a", "b", "c", "d"]
    assert len(SceneParsing(folders(MAP), True, num_classes=150).classes) == 150


def test_maps_that_do_not_fit_are_refused(folders):
    with pytest.raises(UserError, match=r"a.png is 6 x 4, but .*a.jpg 5 x 4"):
        SceneParsing(folders(MAP, size=(5, 4)), True).read(0)
    with pytest.raises(UserError, match=r"a.png has the label 3, but there are 2 classes"):
        SceneParsing(folders(MAP, classes=["a", "b"]), True).read(0)
    root = folders([[[1, 2, 3]] * 6] * 4)
    with pytest.raises(UserError, match="expected one label 0 to 255 for each pixel, found a RGB picture"):
        SceneParsing(root, True, num_classes=3).read(0)
    (root / "annotations" / "training" / "a.png").unlink()
    with pytest.raises(UserError, match=r"there is no map .*a.png"):
        SceneParsing(root, True)
    with pytest.raises(UserError, match=r"there is no folder .*images/training.*--data_path"):
        SceneParsing(root / "nowhere", True)


def test_published_names_of_classes_are_read(folders):
    root = folders(MAP)
    header, *rows = "Idx\tRatio\tTrain\tVal\tName", "1\t0.1\t1\t1\twall", "2\t0.1\t1\t1\tbuilding, edifice"
    (root / "objectInfo150.txt").write_text("\n".join((header, *rows)))
    assert SceneParsing(root, True).classes == ["wall", "building"]


def test_sizes_are_those_of_the_release():
    assert transforms.fitted((480, 640), 1333, 800) == (800, 1067)
    assert transforms.fitted((427, 640), 2048, 512) == (512, 767)
    assert transforms.fitted((600, 3000), 1333, 800) == (267, 1333)


def sample():
    mask = torch.zeros(1, 480, 640, dtype=torch.bool)
    mask[:, 20:80, 540:620] = True
    target = {"boxes": torch.tensor([[540.0, 20, 620, 80]]), "labels": torch.tensor([3]), "masks": mask, "image_id": 1}
    return Image.new("RGB", (640, 480), (255, 0, 0)), target


def test_boxes_and_masks_stay_together_through_detection_s_augmentation():
    transform, seen = transforms.DetectionTraining((1333, 800)), set()
    for seed in range(30):
        torch.manual_seed(seed)
        image, target = transform(*sample())
        assert image.shape[1:] == target["masks"].shape[1:]
        assert min(image.shape[1:]) in range(480, 801, 32) or max(image.shape[1:]) == 1333
        seen.add(len(target["boxes"]))
        for box, mask in zip(target["boxes"], target["masks"], strict=True):
            if (box[2:] - box[:2]).min() > 4:  # of a smaller rest of an object no pixel may be left
                y, x = torch.where(mask)
                drawn = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1])
                assert (box - drawn).abs().max() < 6
    assert seen == {0, 1}, "a cut may miss the object"
    torch.manual_seed(0)
    image, target = transforms.DetectionTraining((320, 192), augment=False)(*sample())
    assert image.shape[1:] == (192, 256) and target["boxes"].tolist() == [[216, 8, 248, 32]]


def test_a_batch_of_detection_is_padded_to_multiples_of_32():
    torch.manual_seed(0)
    transform = transforms.DetectionTraining((100, 100), augment=False)
    one, other = (
        transform(*sample()),
        transform(Image.new("RGB", (300, 600)), sample()[1] | {"masks": torch.zeros(1, 600, 300)}),
    )
    (images, targets, sizes), ids = transforms.collate_training([one, other])
    assert images.shape == (2, 3, 128, 128) and sizes == [(75, 100), (100, 50)] and ids.tolist() == [1, 1]
    assert targets[0]["masks"].shape == (1, 128, 128)
    assert images[0, :, 75:].abs().max() == 0 and images[0, 0, 0, 0] == pytest.approx((255 - 123.675) / 58.395)


def test_segmentation_s_augmentation_gives_crops_with_ignored_padding():
    labels = np.tile(np.arange(64, dtype=np.uint8) // 16, (48, 1))
    transform = transforms.SegmentationTraining((128, 64), 64)
    for seed in range(20):
        torch.manual_seed(seed)
        image, maps = transform(Image.new("RGB", (64, 48), (10, 200, 30)), labels)
        assert image.shape == (3, 64, 64) and maps.shape == (64, 64)
        assert (image[:, maps == 255] == 0).all()
        counts = torch.bincount(maps[maps != 255])
        assert counts.max() / counts.sum() < 0.75
    image, maps = transforms.SegmentationTraining((128, 48), 64, augment=False)(Image.new("RGB", (64, 48)), labels)
    assert torch.equal(maps[:48], torch.from_numpy(labels).long()) and (maps[48:] == 255).all()


def test_photometric_distortion_changes_colours_within_bounds():
    image = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
    means = []
    for seed in range(40):
        torch.manual_seed(seed)
        means.append(transforms.photometric_distortion(image).float().mean())
    assert len(set(means)) > 20 and min(means) > 40 and max(means) < 215
