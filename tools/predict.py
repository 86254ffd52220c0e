"""What trained weights say of pictures, recordings and folders of them: the most probable classes, or what is where.

    python tools/predict.py output/best.pth cat.jpg pictures/
    python tools/predict.py output/best.pth recording.aedat --top 3 --format json
    python tools/predict.py sma_azo_vgg8_dvs128 events_np/test --format csv --output predictions.csv
    python tools/predict.py best.pth cat.jpg --model gac_ms_resnet34 --kwargs T=6 --classes names.txt
    python tools/predict.py output/det/best.pt street.jpg --pictures found

Network, classes and preprocessing are those on the card beside the weights, `NAME.json`, which the scripts that train
write and `tools/fetch_weights.py convert` too; flags win over it, and stand in for it where there is none. Detectors
and segmentors draw what they find into pictures, and list objects with their scores or classes with their share of
the pixels. From Python: `common.predict.Predictor`.
"""

import argparse
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from common.analysis import samples
from common.errors import UserError, nearest
from common.files import atomic_path
from common.predict import Guess, Predictor, samples_in
from common.training import run
from tools.networks import key_value
from tools.papers import drawer_of, networks
from tools.text import columns
from tools.visualize import add_reading_options, given

BOX = ("left", "top", "right", "bottom")
Predictions = Sequence[tuple[str, Sequence[Guess]]]
"""(sample, its most probable classes)."""


def main(arguments: list[str] | None = None) -> None:
    """Predict as the command line says."""
    options = parse(arguments)
    known = networks()
    if options.model and options.model not in known:
        raise UserError(f"unknown network {options.model!r}: {nearest(options.model, known)}--model is a name of timm")
    predictor = build(options)
    sources = [one for source in options.inputs for one in samples_in(source, rendered=predictor.reading.rendered)]
    if draw := drawer_of(predictor):
        found = drawn(draw, sources, options.pictures)
    else:
        found = [(source, predictor(source)) for source in sources]
    text = FORMATS[options.format]([(source, guesses[: options.top]) for source, guesses in found])
    if options.output is None:
        print(text, end="")
        return
    with atomic_path(options.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{len(found)} samples: {options.output}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="What an INPUT can be, beside a folder of such files:\n" + samples.__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", metavar="WEIGHTS", help="a file, or a name in the store")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="see the list below")
    parser.add_argument("--model", help="name that timm.create_model takes (as the card says)")
    parser.add_argument("--kwargs", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the network")
    parser.add_argument("--classes", type=Path, help="file with a name per line, of output 0, 1, ... (the card's)")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes to name (%(default)s)")
    parser.add_argument("--format", choices=FORMATS, default="table", help="of the answer (%(default)s)")
    parser.add_argument("--output", type=Path, help="file for the answer (printed)")
    parser.add_argument(
        "--pictures", type=Path, default=Path("predictions"), help="folder for what is found (%(default)s)"
    )
    add_reading_options(parser)
    options = parser.parse_args(arguments)
    if options.top < 1:
        raise UserError(f"--top {options.top}: expected 1 or more")
    return options


def drawn(draw: Callable[[str, Path], list[Guess]], sources: Sequence[str], folder: Path) -> Predictions:
    """What is found in each picture, drawn to `folder` under the name that it has, numbered where several have one."""
    found, seen = [], Counter()
    for source in sources:
        name = Path(source).stem
        seen[name] += 1
        path = folder / (f"{name}.png" if seen[name] == 1 else f"{name}_{seen[name]}.png")
        found.append((source, draw(source, path)))
        print(f"picture: {path}", file=sys.stderr)
    return found


def build(options: argparse.Namespace) -> Predictor:
    """The predictor that the flags describe; says where its preprocessing comes from if not from a card."""
    classes = read_names(options.classes) if options.classes else ()
    create = dict(map(key_value, options.kwargs))
    predictor = Predictor(options.weights, options.model, create, classes, **given(options))
    if not predictor.has_card:
        print(
            f"note: no card says how {options.weights} wants its input; taken as {predictor.reading} "
            "(-T, --split-by, --downsample, --sensor-size, --size)"
        )
    return predictor


def read_names(path: Path) -> list[str]:
    """The lines of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--classes {path}: cannot be read ({error}); give a text file with a name per line") from error


def table(predictions: Predictions) -> str:
    """Columns for a terminal, the classes side by side."""
    ranks = max((len(guesses) for _, guesses in predictions), default=0)
    heading = ("sample", *(f"{rank}." for rank in range(1, ranks + 1)))
    rows = [(source, *(f"{g.name} {g.probability:.1%}" for g in guesses)) for source, guesses in predictions]
    return "\n".join(columns([heading, *((*row, *[""] * (len(heading) - len(row))) for row in rows)])) + "\n"


def as_json(predictions: Predictions) -> str:
    """One object per sample."""
    return (
        json.dumps(
            [
                {
                    "sample": source,
                    "classes": [{k: v for k, v in asdict(guess).items() if v is not None} for guess in guesses],
                }
                for source, guesses in predictions
            ],
            indent=2,
        )
        + "\n"
    )


def as_csv(predictions: Predictions) -> str:
    """One line per sample and class."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    boxes = any(guess.box for _, guesses in predictions for guess in guesses)
    writer.writerow(("sample", "rank", "label", "name", "probability", *BOX * boxes))
    for source, guesses in predictions:
        for rank, guess in enumerate(guesses, 1):
            sides = (f"{side:.1f}" for side in guess.box or ())
            writer.writerow((source, rank, guess.label, guess.name, f"{guess.probability:.6g}", *sides))
    return stream.getvalue()


FORMATS = {"table": table, "json": as_json, "csv": as_csv}


if __name__ == "__main__":
    run(main)
