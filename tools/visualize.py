"""Pictures of samples and of what a network makes of them: PNG, GIF and CSV files, no display needed.

    python tools/visualize.py events tiny-dvs128:0 recording.aedat -T 8
    python tools/visualize.py spikes sma_vgg8_dvs128 --weights best.pth --input events_np/test/0/user24_led_0.npz
    python tools/visualize.py attention ma_snn_dvsgestures --kwargs attention=TCSA --input tiny-dvs128:3 --downsample 4
    python tools/visualize.py gradcam gac_ms_resnet34 --weights GAC34.pth --input cat.jpg --layer conv5_x --target 281

events     each SAMPLE's frames side by side (.png) and as an animation (.gif)
spikes     per neuron layer: a raster of some neurons over time, a map of firing rates, and a table of the rates
attention  per attention module: the weights of SMA (per kernel, steps x channels), of MA-SNN (TA, CA, SA), of GAC (the
           gate over steps x channels and over space), and q k^T of spiking self-attention (queries x keys)
heat       one picture per step of what a neuron layer sends, summed over channels (the heat maps of SMA: --neuron 5)
gradcam    where in the sample the evidence for a class lies (Grad-CAM)
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name

import torch
from PIL import Image
from torch import nn

from common.analysis import samples
from common.analysis.attention_maps import READERS, Reader, attention_panels
from common.analysis.event_pictures import save_gif
from common.analysis.figures import FORMATS, event_strip
from common.analysis.gradcam import grad_cam, overlay
from common.analysis.panels import Panel, draw_panels
from common.analysis.samples import Reading, read_sample
from common.errors import UserError
from common.events.frames import SPLITS
from common.files import atomic_path
from common.predict import reading_for
from common.training import run
from common.weights import card_facts, locate
from tools.networks import trained
from tools.papers import papers
from tools.rasters import heat_maps, neuron_activity, raster_panels, rate_panels, write_rates

SMALLEST_PICTURE = 256
"""Pixels of the shorter side of a Grad-CAM picture; a smaller sample is enlarged."""


def readers() -> dict[type[nn.Module], Reader]:
    """How the weights of each attention module are read, of all papers."""
    own = (resolve_name(paper.attention_readers) for paper in papers().values() if paper.attention_readers)
    return {kind: read for readers in own for kind, read in readers.items()} | READERS


def main(arguments: list[str] | None = None) -> None:
    """Draw as the command line says."""
    options = parse(arguments)
    for path in options.draw(options):
        print(path)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    style = {
        "epilog": "What a SAMPLE can be:\n" + samples.__doc__.partition("\n\n")[2],
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
    parser = argparse.ArgumentParser(description=__doc__, **style)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    kinds = {"events": draw_events, "spikes": draw_spikes, "attention": draw_attention}
    kinds |= {"heat": draw_heat, "gradcam": draw_gradcam}
    parsers = {
        verb: verbs.add_parser(verb, help=draw.__doc__, description=draw.__doc__, **style)
        for verb, draw in kinds.items()
    }
    parsers["events"].add_argument("samples", nargs="+", metavar="SAMPLE", help="see the list below")
    parsers["events"].add_argument("--milliseconds", type=int, default=120, help="per frame of the GIF (%(default)s)")
    for verb, own in parsers.items():
        own.set_defaults(draw=kinds[verb])
        if verb != "events":
            add_network_options(own)
        add_reading_options(own)
        own.add_argument("--output-dir", type=Path, default=Path("pictures"), help="folder of the files (%(default)s)")
    for verb in ("events", "spikes", "attention"):
        parsers[verb].add_argument("--format", choices=FORMATS, default="png", help="of the figures (%(default)s)")
    parsers["spikes"].add_argument("--neurons", type=int, default=100, help="rows of a raster (%(default)s)")
    parsers["heat"].add_argument("--neuron", type=int, default=5, help="layer, from 0 as registered (%(default)s)")
    parsers["gradcam"].add_argument("--layer", required=True, help="module whose output is looked at, e.g. conv5_x")
    parsers["gradcam"].add_argument("--target", type=int, help="class; the predicted one by default")
    return parser.parse_args(arguments)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """The network and its sample."""
    parser.add_argument("model", help="name that timm.create_model takes")
    parser.add_argument("--kwargs", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the network")
    parser.add_argument("--weights", help="a file of weights, or a name in the store; random ones without")
    parser.add_argument("--seed", type=int, default=0, help="of random weights (%(default)s)")
    parser.add_argument("--input", required=True, metavar="SAMPLE", help="see the list below")


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """How the sample is read; what is not given is as the card of the weights says."""
    parser.add_argument("-T", type=int, help="frames of a recording (as the network needs, else 16)")
    parser.add_argument("--split-by", choices=SPLITS, help="equal counts (default) or durations")
    parser.add_argument("--downsample", type=int, metavar="K", help="add up squares of K x K pixels")
    parser.add_argument(
        "--sensor-size", type=int, nargs=2, metavar=("H", "W"), help="of the camera, where not the usual"
    )
    parser.add_argument("--size", type=int, help="side of a picture in pixels (as the network needs, else 224)")


def given(options: argparse.Namespace) -> dict[str, object]:
    """The fields of `Reading` that the command line names."""
    fields = {name: getattr(options, name) for name in ("T", "split_by", "downsample", "size")}
    fields["sensor_size"] = tuple(options.sensor_size) if options.sensor_size else None
    fields["resize"] = None if options.size is None else options.size * 256 // 224
    return {name: value for name, value in fields.items() if value is not None}


class Subject:
    """A network and the one sample it is shown."""

    def __init__(self, options: argparse.Namespace):
        torch.manual_seed(options.seed)
        self.model = trained(options.model, options.kwargs, options.weights)
        card = card_facts(locate(options.weights)) if options.weights else {}
        known = reading_for(card, self.model)
        self.sample = read_sample(options.input, replace(known, **given(options)))
        self.name = f"{options.model}_{self.sample.name}"
        self.folder: Path = options.output_dir
        self.format: str = getattr(options, "format", "png")
        self.x, self.x_first = self.model.layout.arranged(self.sample.values, type(self.model).__name__)

    def run(self, function, *arguments):
        """`function(model, x, ...)`, its complaint about the input said in one line."""
        try:
            return function(self.model, self.x, *arguments)
        except (ValueError, RuntimeError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{type(self.model).__name__} refuses {self.sample.name} as {list(self.x.shape)}: {reason}; "
                "see -T, --size and --downsample, or the arguments of the network in --kwargs"
            ) from error

    def draw(self, panels: list[Panel], kind: str, **style) -> Path:
        """Write panels to `<folder>/<network>_<sample>_<kind>.<format>`, maps of space with y downwards."""
        panels = [panel.turned() for panel in panels] if self.x_first else panels
        return draw_panels(panels, self.folder / f"{self.name}_{kind}.{self.format}", self.name, **style)


def draw_events(options: argparse.Namespace) -> Iterator[Path]:
    """Frames side by side and as an animation."""
    for source in options.samples:
        sample = read_sample(source, replace(Reading(), **given(options)))
        if sample.values.ndim != 4 or sample.values.shape[1] != 2:
            raise UserError(f"{source} has the shape {list(sample.values.shape)}; expected event frames [T, 2, H, W]")
        frames = sample.values.numpy()
        yield event_strip(
            frames, options.output_dir / f"{sample.name}_frames.{options.format}", sample.name, sample.times
        )
        yield save_gif(frames, options.output_dir / f"{sample.name}.gif", milliseconds=options.milliseconds, zoom=2)


def draw_spikes(options: argparse.Namespace) -> Iterator[Path]:
    """Rasters, maps and a table of the firing rates of each neuron layer."""
    if options.neurons < 1:
        raise UserError(f"--neurons must be at least 1, got {options.neurons}")
    subject = Subject(options)
    activities = subject.run(neuron_activity, options.neurons)
    if not any(activity.rate for activity in activities):
        print("warning: no neuron fires; give trained weights by --weights, or another sample")
    yield subject.draw(raster_panels(activities), "rasters", colours="gray_r", from_zero=True, ticks=True)
    yield subject.draw(rate_panels(activities), "rates", from_zero=True)
    yield write_rates(activities, subject.folder / f"{subject.name}_rates.csv")


def draw_attention(options: argparse.Namespace) -> Iterator[Path]:
    """Maps of the weights of each attention module."""
    subject = Subject(options)
    known = readers()
    panels = subject.run(attention_panels, known)
    if not panels:
        names = ", ".join(kind.__name__ for kind in known)
        raise UserError(f"{options.model} has no attention ({names}); choose a network or --kwargs with it")
    yield subject.draw(panels, "attention")


def draw_heat(options: argparse.Namespace) -> Iterator[Path]:
    """A heat map of a neuron layer at each step, `<sample>_<step>.png`."""
    from matplotlib import colormaps

    subject = Subject(options)
    for t, heat in enumerate(subject.run(heat_maps, options.neuron)):
        path = subject.folder / f"{subject.sample.name}_{t}.png"
        picture = colormaps["jet"](heat.T if subject.x_first else heat, bytes=True)[..., :3]
        with atomic_path(path) as temporary:
            Image.fromarray(picture).save(temporary)
        yield path


def draw_gradcam(options: argparse.Namespace) -> Iterator[Path]:
    """The sample with the evidence for a class on it, from blue (none) to red."""
    subject = Subject(options)
    cam = subject.run(grad_cam, options.layer, options.target)
    heat = cam.map.T if subject.x_first else cam.map
    path = subject.folder / f"{subject.name}_gradcam_{options.layer}_class{cam.target}.png"
    picture = subject.sample.picture
    zoom = -(-SMALLEST_PICTURE // min(picture.shape[:2]))
    with atomic_path(path) as temporary:
        Image.fromarray(overlay(heat, picture.repeat(zoom, 0).repeat(zoom, 1))).save(temporary)
    print(f"class {cam.target}, logit {float(cam.logit):.3f}")
    yield path


if __name__ == "__main__":
    run(main)
