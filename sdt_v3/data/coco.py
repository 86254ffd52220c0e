"""Objects with boxes and masks in COCO's form: a JSON file of annotations beside a folder of pictures.

| in a file                                   | what becomes of it                                               |
|---------------------------------------------|------------------------------------------------------------------|
| category ids                                | labels 0, 1, ... in the order of the ids, which may have gaps    |
| crowds                                      | left out in training, ignored by the evaluation                  |
| boxes beyond the picture                    | cut; nothing left, or less than one pixel a side: left out       |
| polygons beyond the picture                 | cut; of fewer than three points: left out                        |
| pictures without objects or below 32 pixels | left out in training                                             |
| grey, palette and CMYK pictures             | read as RGB                                                      |

COCO 2017 lies as published: `annotations/instances_{train,val}2017.json`, `{train,val}2017/*.jpg`. Other sets have the
same layout, with or without the year.
"""

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from common.analysis.samples import Reading
from common.conversion.view import Entry, View
from common.datasets.card import DataSet
from common.datasets.imagenet import load_rgb
from common.errors import UserError
from common.tiny.scenes import write_tiny_scenes

PARTS = {True: ("train2017", "train"), False: ("val2017", "val", "test")}
"""Names of the training and the evaluation part; the first that exists is taken."""
SMALLEST = 32
"""Pixels of the shorter side of a picture that trains."""


class Tools(NamedTuple):
    """What of COCO's tools is used, from whichever package there is."""

    annotations: type
    evaluation: type
    masks: ModuleType


def tools() -> Tools:
    """faster-coco-eval, else pycocotools, which gives the same numbers more slowly.

    Raises:
        UserError: neither is installed.
    """
    with contextlib.suppress(ImportError):
        from faster_coco_eval import COCO, COCOeval_faster
        from faster_coco_eval.core import mask

        return Tools(COCO, COCOeval_faster, mask)
    try:
        from pycocotools import mask
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise UserError(
            'detection reads and evaluates with faster-coco-eval or pycocotools: pip install "spiking-papers[dense]"'
        ) from error
    return Tools(COCO, COCOeval, mask)


def quietly(function: Callable, *arguments: object) -> object:
    """Call without what pycocotools prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments)


def indexed(content: Mapping[str, list]) -> object:
    """The package's object around `content` of a JSON file."""
    coco = tools().annotations()
    coco.dataset = content
    quietly(coco.createIndex)
    return coco


def read_annotations(path: Path) -> dict[str, list]:
    """Images, annotations and categories of a JSON file.

    Raises:
        UserError: missing or damaged, a part of it is, or an object is of a picture or category that is not listed.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as COCO annotations ({error}); check --data_path") from error
    wanted = {
        "images": ("id", "file_name", "height", "width"),
        "annotations": ("id", "image_id", "category_id", "bbox", "segmentation"),
        "categories": ("id", "name"),
    }
    for part, keys in wanted.items():
        rows = content.get(part) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise UserError(f"{path}: there is no list {part!r}; expected COCO's images, annotations and categories")
        for row in rows:
            if lacking := [key for key in keys if key not in row]:
                raise UserError(f"{path}: {part} {row.get('id')} lacks {', '.join(lacking)}; write the file again")
    images = {image["id"] for image in content["images"]}
    categories = {category["id"] for category in content["categories"]}
    for row in content["annotations"]:
        if row["image_id"] not in images:
            raise UserError(f"{path}: annotation {row['id']} is of image {row['image_id']}, which is not listed")
        if row["category_id"] not in categories:
            raise UserError(f"{path}: annotation {row['id']} has category {row['category_id']}, which is not listed")
    if not content["images"] or not content["categories"]:
        raise UserError(f"{path} lists no {'categories' if content['images'] else 'images'}; write the file again")
    content["annotations"] = [completed(row) for row in content["annotations"] if is_drawn(row)]
    if len({row["id"] for row in content["annotations"]} - {0}) < len(content["annotations"]):
        for number, row in enumerate(content["annotations"], start=1):  # the evaluation tells objects apart by them
            row["id"] = number
    return content


def is_drawn(row: Mapping) -> bool:
    """Whether an annotation has a mask: run lengths, or a polygon of three points or more."""
    return isinstance(row["segmentation"], dict) or bool(polygons(row["segmentation"]))


def completed(row: Mapping) -> dict:
    """An annotation with what COCO's evaluation asks for, and without polygons of fewer than three points."""
    segments = row["segmentation"]
    known = {"iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]} | row
    return known | {"segmentation": polygons(segments) if isinstance(segments, list) else segments}


def is_object(row: Mapping, image: Mapping) -> bool:
    """Whether an annotation can be learnt: no crowd, and at least a pixel a side within its picture."""
    x, y, w, h = row["bbox"]
    across = min(x + w, image["width"]) - max(x, 0)
    down = min(y + h, image["height"]) - max(y, 0)
    return not row["iscrowd"] and min(w, h) >= 1 and min(across, down) > 0 and row["area"] > 0


def polygons(segments: list) -> list[list[float]]:
    """Those with at least three points."""
    return [each for each in segments if len(each) >= 6 and len(each) % 2 == 0]


def read_mask(row: Mapping, image: Mapping) -> np.ndarray:
    """The mask of an annotation, bool `[H, W]`."""
    coder, size, segments = tools().masks, (image["height"], image["width"]), row["segmentation"]
    if isinstance(segments, list):
        return coder.decode(coder.merge(coder.frPyObjects(segments, *size))).astype(bool)
    if tuple(segments["size"]) != size:
        raise UserError(f"annotation {row['id']}: its mask has {segments['size']} pixels, its image {list(size)}")
    packed = coder.frPyObjects(segments, *size) if isinstance(segments["counts"], list) else segments
    return coder.decode(packed).astype(bool)


class CocoInstances(Dataset):
    """Pictures with their objects.

    A sample is what `transform` makes of (picture, target), with the picture as RGB and in the target `boxes` `[n, 4]`,
    corners in pixels, `labels` `[n]`, `masks` bool `[n, H, W]`, and `image_id`.

    Args:
        root: the folder that holds `annotations` and the pictures.
        train: the training part, without what cannot be learnt from.
        transform: see `data.dense_transforms`; None leaves samples as they are.

    Attributes:
        content: the JSON file.
        images: those that are kept.
        classes: names by label.
        category_ids: ids by label.

    Raises:
        UserError: missing files or wrong annotations.
    """

    name = "coco"
    url = "https://cocodataset.org"

    def __init__(self, root: str | Path, train: bool, transform: Callable | None = None):
        names = [name for name in PARTS[train] if annotation_file(root, name).is_file()]
        if not names:
            raise UserError(
                f"there is no file {annotation_file(root, PARTS[train][0])}; expected COCO's layout, annotations/"
                f"instances_{PARTS[train][0]}.json beside {PARTS[train][0]}/*.jpg: fetch it from {self.url} and give "
                "its folder by --data_path"
            )
        self.path, self.folder = annotation_file(root, names[0]), Path(root) / names[0]
        self.transform, self.content = transform, read_annotations(self.path)
        categories = sorted(self.content["categories"], key=lambda category: category["id"])
        self.category_ids = [category["id"] for category in categories]
        self.classes = [category["name"] for category in categories]
        images = {image["id"]: image for image in self.content["images"]}
        self.objects: dict[int, list[dict]] = {}
        for row in self.content["annotations"]:
            if is_object(row, images[row["image_id"]]):
                self.objects.setdefault(row["image_id"], []).append(row)
        self.images = [image for image in images.values() if not train or self._teaches(image)]

    def _teaches(self, image: Mapping) -> bool:
        return min(image["width"], image["height"]) >= SMALLEST and image["id"] in self.objects

    def __len__(self) -> int:
        return len(self.images)

    @property
    def reading(self) -> Reading:
        """How a picture is read for a test, with such a `transform`."""
        return Reading(fit=self.transform.scale)

    def __getitem__(self, index: int) -> tuple:
        sample = self.read(index)
        return self.transform(*sample) if self.transform else sample

    def read(self, index: int) -> tuple[Image.Image, dict]:
        """Picture and target.

        Raises:
            UserError: the picture is missing, damaged or of another size than its annotations.
        """
        image = self.images[index]
        path, (height, width) = self.folder / image["file_name"], (image["height"], image["width"])
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise UserError(f"{self.path}: {image['file_name']!r} leads out of {self.folder}; write the file again")
        if not path.is_file():
            raise UserError(f"there is no picture {path}, which {self.path} lists; fetch it, or take it off the list")
        picture = load_rgb(str(path))
        if picture.size != (width, height):
            raise UserError(f"{path} is {picture.size[0]} x {picture.size[1]}, but {width} x {height} in {self.path}")
        rows = self.objects.get(image["id"], [])
        masks = [read_mask(row, image) for row in rows]
        boxes = torch.tensor([row["bbox"] for row in rows], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        limit = torch.tensor([width, height, width, height])
        target = {
            "boxes": boxes.clamp(min=0).minimum(limit),
            "labels": torch.tensor([self.category_ids.index(row["category_id"]) for row in rows], dtype=torch.long),
            "masks": torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, height, width, dtype=torch.bool),
            "image_id": image["id"],
        }
        return picture, target

    def is_wide(self, index: int) -> bool:
        """Whether a picture is at least as wide as high."""
        return self.images[index]["width"] >= self.images[index]["height"]


def annotation_file(root: str | Path, name: str) -> Path:
    """Where the annotations of the part `name` are."""
    return Path(root) / "annotations" / f"instances_{name}.json"


def coco_views(root: Path) -> list[View]:
    """The pictures of both parts."""
    entries, parts = [], {}
    for train, part in ((True, "train"), (False, "val")):
        data = parts[part] = CocoInstances(root, train)
        data.images = data.content["images"]
        entries += [
            Entry(part, "pictures", data.folder / image["file_name"], index=index)
            for index, image in enumerate(data.images)
        ]
    read, show = (partial(function, parts) for function in (_read, _show))
    return [View("pictures", root, entries, read, show=show)]


def _read(parts: Mapping[str, CocoInstances], entry: Entry) -> np.ndarray:
    return np.asarray(parts[entry.part].read(entry.index)[0])


def _show(parts: Mapping[str, CocoInstances], entry: Entry) -> np.ndarray:
    from sdt_v3.dense_pictures import draw_objects

    data = parts[entry.part]
    picture, target = data.read(entry.index)
    return draw_objects(np.asarray(picture), target, data.classes)


CARD = DataSet.of(
    CocoInstances,
    title="COCO 2017 instances, or any set in its form",
    papers="sdt_v3",
    form="pictures",
    files="train2017.zip, val2017.zip and annotations_trainval2017.zip, unpacked",
    folder="data/coco",
    split="published: train2017 and val2017",
    views=coco_views,
    write_tiny=partial(write_tiny_scenes, "coco"),
    expected={"train": 118_287, "val": 5_000},
    is_published=lambda entries: any(entry.path.name == "000000397133.jpg" for entry in entries),
    terms="annotations CC BY 4.0; pictures under Flickr's terms",
)
