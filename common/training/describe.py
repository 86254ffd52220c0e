"""What the card of trained weights says of their network, for who uses it later; see `common.weights`."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from torch import nn
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from common.analysis.samples import Reading


def describe(model: nn.Module, data: Dataset, **more: object) -> None:
    """Note on `model`, built by timm, the classes of `data` and how it reads a sample for evaluation.

    `more` are fields of the reading that the data do not know.
    """
    reading = reading_of(data)
    model.card = {
        **model.made_by,
        "classes": class_titles(data),
        "reading": reading and asdict(reading) | more,
    }


def class_titles(data: Dataset) -> list[str]:
    """The classes of `data` by label: as its folders are called, or what their numbers mean in a published set."""
    from common.datasets.card import meaning  # slow to import

    names = getattr(data, "class_names", ()) if getattr(data, "is_published", False) else ()
    return [meaning(str(category), names) for category in getattr(data, "classes", ())]


def reading_of(data: Dataset) -> "Reading | None":
    """The reading that gives of a file what `data` gives; None if none does."""
    from common.analysis.samples import Reading, reading_of_pictures  # slow to import
    from common.conversion import cache
    from common.datasets.event_frames import EventFrames

    if isinstance(data, EventFrames):
        size = cache.facts(data.root).get("sensor_size", [side * data.downsample for side in data.sensor_size])
        return Reading(data.T, data.split_by, data.downsample, tuple(size))
    if isinstance(known := getattr(data, "reading", None), Reading):
        return known
    transform = getattr(data, "transform", None)
    return reading_of_pictures(transform, data) if hasattr(transform, "transforms") else None
