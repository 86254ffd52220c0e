"""Every verb on every family, from every kind of sample, without a display."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from common.conversion.cache import save_frames
from common.errors import UserError
from common.neurons import NEURONS, MSLIFNode
from tests.programs import run_source
from tests.tools.small_networks import SMALL_NETWORKS
from tools import visualize
from tools.networks import build
from tools.rasters import heat_maps

GESTURES = ["ma_snn_dvsgestures", "--kwargs", "width=0.125", "T=4", "t_ratio=2"]
DOWNSAMPLED = ["--input", "tiny-dvs128:3", "--downsample", "4"]


def written(tmp_path, *arguments):
    visualize.main([*arguments, "--output-dir", str(tmp_path / "out")])
    return {path.name: path for path in (tmp_path / "out").iterdir()}


def sample(name, kwargs, tmp_path):
    """A file with one sample as the network takes it, an image [3, 32, 32] or frames [4, 2, 32, 32]."""
    layout = build(name, kwargs).layout
    shape = (4, layout.channels, 32, 32) if "t" in layout.axes else (layout.channels, 32, 32)
    np.save(tmp_path / "sample.npy", np.random.default_rng(0).random(shape))
    return ["--input", str(tmp_path / "sample.npy")]


@pytest.fixture
def drawn(monkeypatch):
    """The panels of each figure by its kind, in place of the figure, which takes seconds to draw."""
    panels = {}

    def draw(given, path, title, **style):
        panels[path.stem.rpartition("_")[2]] = given
        return path

    monkeypatch.setattr(visualize, "draw_panels", draw)
    return panels


@pytest.mark.parametrize("name, kwargs", SMALL_NETWORKS)
def test_spikes_of_every_family(name, kwargs, tmp_path, drawn):
    (table,) = written(tmp_path, "spikes", name, "--kwargs", *kwargs, *sample(name, kwargs, tmp_path)).values()
    layers = len(table.read_text().splitlines()) - 1
    assert layers == len(drawn["rasters"]) == len(drawn["rates"]) > 1


@pytest.mark.parametrize("name, kwargs", SMALL_NETWORKS)
def test_attention_of_every_family_that_has_it(name, kwargs, tmp_path, drawn):
    call = ["attention", name, "--kwargs", *kwargs, *sample(name, kwargs, tmp_path), "--output-dir", str(tmp_path)]
    if name in ("ms_resnet18", "ms_resnet18_cifar") or (
        name == "ma_snn_dvsgestures" and "attention=TCSA" not in kwargs
    ):
        with pytest.raises(UserError, match=f"{name} has no attention"):
            visualize.main(call)
    else:
        visualize.main(call)
        assert all(np.isfinite(panel.values).all() for panel in drawn["attention"])


def test_figures_of_spikes_and_a_table_are_written(tmp_path):
    files = written(tmp_path, "spikes", *GESTURES, *DOWNSAMPLED)
    name = "ma_snn_dvsgestures_tiny-dvs128_3"
    assert set(files) == {f"{name}_rasters.png", f"{name}_rates.png", f"{name}_rates.csv"}


def test_figure_of_attention_is_written(tmp_path):
    (path,) = written(tmp_path, "attention", *GESTURES, "attention=TCSA", *DOWNSAMPLED).values()
    assert Image.open(path).format == "PNG"


@pytest.mark.parametrize(
    "name, layer",
    [
        ("sma_vgg8_dvs128", "block3"),
        ("ma_snn_dvsgestures", "convAttLIF1"),
        ("gac_ms_resnet18", "conv5_x"),
        ("spikingformer_8_384", "block.0"),
        ("sdt_v3_tiny", "block3"),
    ],
)
def test_gradcam_of(name, layer, tmp_path):
    kwargs = next(small.values[1] for small in SMALL_NETWORKS if small.values[0] == name)
    call = ["gradcam", name, "--kwargs", *kwargs, *sample(name, kwargs, tmp_path), "--layer", layer, "--target", "3"]
    (picture,) = written(tmp_path, *call).values()
    assert picture.name.endswith(f"_gradcam_{layer}_class3.png")
    assert Image.open(picture).size == (256, 256)


def test_events_become_a_strip_and_an_animation(tmp_path):
    files = written(tmp_path, "events", "tiny-dvs128:0", "tiny-ncaltech101:1", "-T", "3")
    assert Image.open(files["tiny-ncaltech101_1.gif"]).n_frames == 3
    assert set(files) == {
        f"tiny-{name}{kind}" for name in ("dvs128_0", "ncaltech101_1") for kind in ("_frames.png", ".gif")
    }


def test_table_of_rates_has_every_neuron_layer(tmp_path, drawn):
    (table,) = written(tmp_path, "spikes", *GESTURES, *DOWNSAMPLED).values()
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["layer"] for row in rows][:2] == ["convAttLIF0.network.ConvIF", "convAttLIF1.network.ConvIF"]
    assert [row["neurons"] for row in rows] == ["8x32x32", "16x16x16", "16x8x8", "32", "11"]
    assert 0 < float(rows[0]["rate"]) < float(rows[0]["active"]) < 1


def test_maps_of_a_network_that_sees_x_first_stand_upright(tmp_path, drawn):
    frames = np.zeros((4, 2, 32, 32))
    frames[:, :, :8] = 50  # events at the top only
    np.save(tmp_path / "top.npy", frames)
    visualize.main(["spikes", *GESTURES, "--input", str(tmp_path / "top.npy"), "--output-dir", str(tmp_path)])
    rates = drawn["rates"][0].values
    assert rates[:8].mean() > rates[12:].mean()


def test_weights_are_those_of_the_file(tmp_path, drawn):
    model = build(GESTURES[0], GESTURES[2:])
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    torch.save(model.state_dict(), tmp_path / "silent.pth")
    (table,) = written(tmp_path, "spikes", *GESTURES, *DOWNSAMPLED, "--weights", str(tmp_path / "silent.pth")).values()
    with table.open() as stream:
        assert {row["rate"] for row in csv.DictReader(stream)} == {"0"}


DRAWN = """
import sys
import tools.visualize
from common.analysis.figures import new_figure, save_figure

save_figure(new_figure(1, 1), sys.argv[1])
sys.exit("matplotlib.pyplot" in sys.modules)
"""


def test_no_display_is_asked_for(tmp_path):
    assert run_source(DRAWN, tmp_path / "empty.png").returncode == 0


@pytest.mark.parametrize("verb", [[], ["events"], ["spikes"], ["attention"], ["gradcam"]])
def test_help_lists_the_kinds_of_samples(verb, capsys):
    with pytest.raises(SystemExit):
        visualize.main([*verb, "--help"])
    assert "tiny-image:0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["events", "tiny-image:0"], "expected event frames [T, 2, H, W]"),
        (["events", "nothing.npy"], "there is no file nothing.npy"),
        (["spikes", *GESTURES, "--input", "tiny-dvs128:3"], "expected frames [B, T, 2, 32, 32]"),
        (["spikes", *GESTURES, "--input", "tiny-image:0"], "takes frames [T, C, H, W]"),
        (["spikes", *GESTURES, *DOWNSAMPLED, "--neurons", "0"], "--neurons must be at least 1"),
        (["spikes", "ms_resnet18_cifar", "--input", "tiny-dvs128:0"], "takes an image [C, H, W]"),
        (["attention", *GESTURES, *DOWNSAMPLED], "choose a network or --kwargs with it"),
        (["gradcam", *GESTURES, *DOWNSAMPLED, "--layer", "conv9"], "the network has no layer 'conv9'"),
        (["gradcam", *GESTURES, *DOWNSAMPLED, "--layer", "convAttLIF1", "--target", "11"], "class 11 does not exist"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, tmp_path):
    with pytest.raises(UserError) as error:
        visualize.main([*arguments, "--output-dir", str(tmp_path)])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_frames_of_a_converted_data_set_are_a_sample(tmp_path):
    save_frames(tmp_path / "user1_led_0.npz", np.ones((3, 2, 8, 8)))
    assert "user1_led_0.gif" in written(tmp_path, "events", str(tmp_path / "user1_led_0.npz"))


def test_a_heat_map_is_the_sum_over_channels_scaled_at_each_step():
    x = torch.zeros(3, 1, 2, 2, 2)  # [T, B, C, H, W]; what exceeds 0.5 fires
    x[0, 0, :, 0, 0] = 1
    x[0, 0, 0, 0, 1] = 1
    x[1, 0, 0, 1, 1] = 1
    maps = heat_maps(torch.nn.Sequential(MSLIFNode()), x, 0)
    assert maps.tolist() == [[[1, 0.5], [0, 0]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]]


def test_heat_maps_are_written_in_jet_one_picture_per_step(tmp_path, monkeypatch):
    ramp = np.tile(np.linspace(0, 1, 8), (8, 1))
    monkeypatch.setattr(visualize, "heat_maps", lambda model, x, number: np.stack([ramp, ramp.T])[: number - 3])
    words = ["heat", "sma_vgg8_dvs128", "--kwargs", "width=0.0625", "T=4", "--input", "tiny-dvs128:0", "-T", "4"]
    files = written(tmp_path, *words)  # --neuron 5
    assert sorted(files) == ["tiny-dvs128_0_0.png", "tiny-dvs128_0_1.png"]
    picture = np.asarray(Image.open(files["tiny-dvs128_0_0.png"]))
    assert (picture[:, 0] == (0, 0, 127)).all()
    assert (picture[:, -1] == (127, 0, 0)).all()


def test_the_published_heat_map_is_of_the_neurons_behind_the_first_attention():
    model = build("sma_vgg8_dvs128", ["width=0.0625"])
    names = [name for name, module in model.named_modules() if isinstance(module, NEURONS)]
    assert names[5] == "block2.3"


@pytest.mark.parametrize(("number", "reason"), [("99", "there are layers 0 to 14"), ("14", r"no map \[C, H, W\]")])
def test_heat_maps_of_no_such_layer_are_refused(tmp_path, number, reason):
    words = ["heat", "sma_vgg8_dvs128", "--kwargs", "width=0.0625", "T=4", "--input", "tiny-dvs128:0", "-T", "4"]
    with pytest.raises(UserError, match=reason):
        written(tmp_path, *words, "--neuron", number)
