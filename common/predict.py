"""What trained weights say of pictures and recordings.

from common.predict import Predictor
import sma                                      # registers the networks of the paper

predict = Predictor("output/best.pth")
for guess in predict("recording.aedat")[:3]:
    print(guess.name, guess.probability)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from common.analysis.samples import READERS, Reading, Sample, read_clips
from common.errors import UserError, nearest
from common.files import without_litter
from common.training.checkpoint import load_weights
from common.weights import card_facts, card_file, locate


@dataclass(frozen=True)
class Guess:
    """A class, and how sure the network is of it."""

    label: int
    name: str
    probability: float
    """Of the softmax over the mean output of all time steps; of an object its score, of a region its share."""
    box: tuple[float, float, float, float] | None = None
    """Of an object: left, top, right and bottom in pixels."""


def reading_for(card: Mapping[str, object], model: nn.Module) -> Reading:
    """How samples are read for a network: as the card of its weights says, otherwise as its layout is."""
    known = card.get("reading")
    if not known:
        return Reading(T=getattr(model, "T", 16), size=model.layout.size[0])
    names = {field.name for field in fields(Reading)}
    listed = {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()}
    return Reading(**{key: value for key, value in listed.items() if key in names})


class Predictor:
    """A trained network with the names of its outputs and the preprocessing of its input.

    Args:
        weights: a file, or a name in the store; what is not given below comes from the card beside it.
        model: name that `timm.create_model` takes; the paper that registers it has to be imported.
        create: arguments of the network.
        classes: names of its outputs; their numbers if neither given nor in the card.
        device: where it computes.
        reading: fields of `common.analysis.samples.Reading` that differ from the card's or, without one, from what
            the network takes.

    Raises:
        UserError: no such weights or network, or they do not fit each other.
    """

    def __init__(
        self,
        weights: str | Path,
        model: str | None = None,
        create: Mapping[str, object] | None = None,
        classes: Sequence[str] = (),
        device: str = "cpu",
        **reading: object,
    ):
        import timm

        path = locate(weights)
        card = card_facts(path)
        name = model or card.get("model")
        if name is None:
            raise UserError(f"{path} has no card {card_file(path)}; say by --model which network the weights are of")
        if not timm.is_model(name):
            hint = nearest(name, timm.list_models())
            raise UserError(f"unknown network {name!r}: {hint}import the paper that has it, such as `import sma`")
        arguments = {**(card.get("create", {}) if name == card.get("model") else {}), **(create or {})}
        try:
            self.model = timm.create_model(name, **arguments).to(device).eval()
        except (TypeError, ValueError) as error:
            raise UserError(f"cannot build {name}: {error}") from error
        load_weights(self.model, path)
        self.device = device
        self.classes = [*(classes or card.get("classes", ()))]
        self.has_card = bool(card.get("reading"))
        self.reading = replace(reading_for(card, self.model), **reading)

    @torch.no_grad()
    def __call__(self, source: str | Path) -> list[Guess]:
        """All classes, the most probable first, of one sample as `common.analysis.samples` names it.

        Raises:
            UserError: it cannot be read, or the network does not take it.
        """
        logits = torch.stack([self.logits(sample, source) for sample in read_clips(str(source), self.reading)]).mean(0)
        if self.classes and len(self.classes) > len(logits):
            raise UserError(f"there are {len(self.classes)} class names for {len(logits)} outputs; give as many")
        order = logits.argsort(descending=True, stable=True).tolist()
        probabilities = logits.softmax(0).tolist()
        return [Guess(label, self.name(label), probabilities[label]) for label in order]

    def logits(self, sample: Sample, source: str | Path) -> Tensor:
        """The mean output of all time steps, `[K]`, for one clip of `source`."""
        x, _ = self.model.layout.arranged(sample.values, type(self.model).__name__)
        try:
            output = self.model(x.to(self.device))
        except (ValueError, RuntimeError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{type(self.model).__name__} refuses {source} as {list(x.shape)}: {reason}; see -T, --size and "
                "--downsample"
            ) from error
        if not isinstance(output, Tensor) or output.ndim > 3:
            raise UserError(
                f"{type(self.model).__name__} finds objects or regions, not one class; `python tools/predict.py` "
                "lists and draws them"
            )
        return output.flatten(0, -2).float().mean(0)

    def name(self, label: int) -> str:
        """What a class is called; its number if that is not known."""
        return self.classes[label] if label < len(self.classes) else str(label)


def samples_in(source: str, *, rendered: bool = False) -> Iterator[str]:
    """`source` itself, or every picture, recording and array in the folder that it names, in order.

    Where clips are `rendered` as folders of pictures, these folders.

    Raises:
        UserError: a folder without any.
    """
    folder = Path(source)
    if not folder.is_dir():
        yield source
        return
    known = (path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in READERS)
    found = without_litter(known, folder)
    if not found:
        raise UserError(f"{folder} has neither pictures nor recordings; there are readers for {', '.join(READERS)}")
    yield from dict.fromkeys(str(path.parent if rendered else path) for path in found)
