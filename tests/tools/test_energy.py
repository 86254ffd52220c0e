import csv

import numpy as np
import pytest

from common.analysis.energy import energy as total_energy
from common.analysis.operations import LayerOperations
from common.errors import UserError
from tools import energy

TINY = ["spikingformer_cifar_4_384", "--kwargs", "embed_dim=32", "depth=1", "num_heads=2", "img_size=16"]
FRAMES = ["--input-shape", "2", "4", "3", "16", "16"]


def run(tmp_path, *arguments):
    energy.main([*TINY, "--output-dir", str(tmp_path), *arguments])


def rows(tmp_path):
    with (tmp_path / "spikingformer_cifar_4_384.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_table_and_figure_are_written(tmp_path, capsys):
    run(tmp_path, *FRAMES)
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".png"}
    assert (
        "formula spikingformer: E = 4.6 pJ * MAC + 0.9 pJ * AC over conv, linear, attention" in capsys.readouterr().out
    )


def test_the_figure_can_be_a_drawing(tmp_path):
    run(tmp_path, *FRAMES, "--format", "svg")
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".svg"}


def test_table_names_every_layer_with_its_kind_of_input(tmp_path):
    run(tmp_path, *FRAMES)
    inputs = {row["layer"]: row["input"] for row in rows(tmp_path) if row["kind"] == "conv"}
    assert inputs["patch_embed.block0_conv"] == "dense"
    assert inputs["block.0.mlp.mlp1_conv"] == "spikes"


def test_energies_of_the_layers_add_up_to_the_total(tmp_path, capsys):
    run(tmp_path, *FRAMES)
    total = sum(float(row["millijoules"]) for row in rows(tmp_path))
    assert f"{total:.4f} mJ" in capsys.readouterr().out


def test_real_input_is_read_from_a_file(tmp_path):
    np.save(tmp_path / "images.npy", np.ones((3, 3, 16, 16)))
    run(tmp_path, "--input", str(tmp_path / "images.npy"))
    assert len(rows(tmp_path)) > 10


def test_input_is_the_networks_own_unless_told(tmp_path, capsys):
    energy.main(["sma_vgg8_dvs128", "--kwargs", "width=0.0625", "T=2", "--output-dir", str(tmp_path)])
    assert "sma_vgg8_dvs128, input [2, 1, 2, 128, 128], formula sma" in capsys.readouterr().out


def test_samples_are_counted_along_the_networks_own_axis(tmp_path):
    def operations(*arguments):
        energy.main(["sma_vgg8_dvs128", "--kwargs", "width=0.0625", "T=4", *arguments, "--output-dir", str(tmp_path)])
        with (tmp_path / "sma_vgg8_dvs128.csv").open() as stream:
            return [row["operations"] for row in csv.DictReader(stream)]

    assert operations("--input-shape", *"4 1 2 32 32".split()) == operations("--input-shape", *"4 3 2 32 32".split())


def test_energies_per_operation_can_be_chosen():
    layers = [LayerOperations("a", "conv", 2e9, 0.0, 2e9, (1.0,)), LayerOperations("b", "conv", 4e9, 1e9, 0.0, (0.25,))]
    assert total_energy(layers, energy.chosen("gac", mac_pj=3.0, ac_pj=0.5)).millijoules == pytest.approx(6.5)


def test_unknown_formula_is_named():
    with pytest.raises(UserError, match="unknown energy formula 'steam'"):
        energy.chosen("steam")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["no_such_net", *FRAMES], "unknown network 'no_such_net'"),
        ([*TINY, "--input-shape", "1", "3", "8", "8"], "refuses an input of shape [1, 3, 8, 8]"),
        ([*TINY, "--input", "nothing.npy"], "nothing.npy: cannot read an array"),
        (["spikingformer_8_384", "--kwargs", "depth", *FRAMES], "expected KEY=VALUE"),
        (["spikingformer_8_384", "--kwargs", "colour=1", *FRAMES], "cannot build spikingformer_8_384"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message):
    with pytest.raises(UserError) as error:
        energy.main(arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
