"""The published tables: each network can be built, each command can be run, and the READMEs say the same."""

import dataclasses
import runpy
import shlex
import sys

import pytest

from common.errors import UserError
from spikingformer.published import curves
from tools import reproduce
from tools.data_sets import data_sets
from tools.reproduction import blocks, counts, plan
from tools.reproduction.tables import ROOT, tables
from tools.weights.lock import read_lock

TABLES = [pytest.param(table, id=name) for name, table in tables().items()]
ROWS = [pytest.param(table, row, id=f"{name}-{row.name}") for name, table in tables().items() for row in table.rows]


def commands_of(table):
    """The commands that the plan of a table prints for its rows, without the downloads."""
    for row in table.rows:
        for line in plan.commands(table, row, seed=1):
            if not line.startswith("#") and "fetch_weights" not in line:
                yield line


def script_of(command):
    """(script or module, arguments) of a printed command."""
    words = shlex.split(command)[1:]
    while words[0].startswith("--"):  # torchrun's own
        words.pop(0)
    return (words[1], words[2:]) if words[0] == "-m" else (ROOT / words[0], words[1:])


def outcome(command, monkeypatch, capsys, *more):
    """What a command that must fail prints."""
    script, arguments = script_of(command)
    monkeypatch.setattr(sys, "argv", [str(script), *arguments, *more])
    with pytest.raises(SystemExit):
        (runpy.run_module if isinstance(script, str) else runpy.run_path)(str(script), run_name="__main__")
    return capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
@pytest.mark.parametrize("table", TABLES)
def test_every_training_and_evaluation_is_understood_by_its_script(table, monkeypatch, capsys):
    for command in commands_of(table):
        # The device is looked for when the flags have been read and before anything else is done.
        error = outcome(command, monkeypatch, capsys, "--device", "nowhere")
        assert error.startswith("error: --device nowhere: unknown device"), command


@pytest.mark.parametrize("table", TABLES)
def test_every_preparation_is_understood_by_the_converter(table, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for command in plan.preparations(table):
        error = outcome(command, monkeypatch, capsys)
        assert error.startswith("error: "), command
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("table", TABLES)
def test_rows_have_different_folders(table):
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", TABLES)
def test_the_data_set_is_one_that_can_be_prepared(table):
    assert table.data in data_sets()


@pytest.mark.parametrize("table", TABLES)
def test_the_notes_exist(table):
    path, _, heading = table.notes.partition("#")
    headings = [line.lstrip("# ") for line in (ROOT / path).read_text().splitlines() if line.startswith("#")]
    assert heading in [text.lower().replace(",", "").replace(" ", "-") for text in headings]


@pytest.mark.parametrize("table, row", ROWS)
def test_parameters_are_those_of_the_original_code(table, row):
    if row.original is None:
        published = not row.model.startswith("cml_spikformer") and not row.create.keys() & {"stages", "attention"}
        assert not published, "only reconstructions and settings that the authors' code has not have no original"
    else:
        assert counts.parameters(row) == row.original


@pytest.mark.parametrize("table, row", ROWS)
def test_every_published_figure_has_a_source(table, row):
    for value, source in ((row.accuracy, row.source), (row.rate, row.rate_source), (row.energy, row.energy_source)):
        assert (value is None) == (source == "")
        assert "memory" not in source or "not checked" in source
    assert row.spread is None or row.accuracy is not None


def test_a_figure_without_a_source_is_refused():
    row = dataclasses.replace(tables()["gac.cifar10"].rows[0], energy=1.0)
    with pytest.raises(AssertionError):
        test_every_published_figure_has_a_source(None, row)


def test_figures_at_288_pixels_are_tested_there():
    rows = [row for name in ("ma_snn.imagenet", "gac.ms_resnet") for row in tables()[name].rows if "288" in row.network]
    assert sorted(row.accuracy for row in rows) == [75.92, 76.02, 77.08]
    for row in rows:
        assert "--img-size 288" in plan.evaluation(tables()["ma_snn.imagenet"], row, "best.pth")
        assert "--img-size" not in row.steps[0].arguments


def test_the_paper_s_gesture_rows_have_its_windows(capsys):
    reproduce.main(["plan", "ma_snn.gesture"])
    printed = capsys.readouterr().out
    assert "published 96.53 ± 0.57 % (arXiv 2209.13929); firing rate 0.026 (NASAR, arXiv 2209.13929)" in printed
    assert "--dt 15 --T 60 --attention TCSA" in printed


def test_weights_are_published_ones_of_the_same_network():
    lock = read_lock()
    named = [(row, lock[row.weights]) for table in tables().values() for row in table.rows if row.weights]
    assert all(weight.status != "unpublished" and weight.model == row.model for row, weight in named)


def test_logged_accuracies_round_to_the_published_ones():
    runs = curves()
    rows = [row for table in tables().values() for row in table.rows if row.curve]
    # 95.95 % of CML + Spikingformer on CIFAR10 is in the README, 95.97 % in the log.
    assert {row.curve for row in rows if abs(row.accuracy - runs[row.curve]["best_top1"]) > 0.0101} == {
        "cml_spikingformer_4_384_cifar10_400e"
    }


def test_every_published_curve_belongs_to_a_row():
    assert {row.curve for table in tables().values() for row in table.rows} - {""} == set(curves())


@pytest.mark.parametrize("path", blocks.documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_tables_are_up_to_date(path):
    text = path.read_text()
    assert blocks.updated(text, path.name) == text, "run `python tools/reproduce.py update`"


def test_every_generated_table_is_in_a_document():
    found = [block["name"] for path in blocks.documents() for block in blocks.MARKED.finditer(path.read_text())]
    assert sorted(found) == sorted(blocks.blocks())


def test_a_stale_table_is_written_anew():
    stale = "before\n<!-- table: spikingformer.energy -->\n| old |\n<!-- end -->\nafter"
    fresh = blocks.updated(stale, "README.md")
    assert "| old |" not in fresh
    assert "| spikingformer_8_512 | 8 |" in fresh
    assert blocks.updated(fresh, "README.md") == fresh


def test_a_block_of_an_unknown_name_is_refused():
    with pytest.raises(UserError, match=r"README\.md: unknown block 'nothing'; expected one of papers, overview"):
        blocks.updated("<!-- table: nothing -->\n<!-- end -->", "README.md")


def test_tables_are_listed(capsys):
    reproduce.main(["list", "--paper", "gac"])
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == ["gac.cifar100", "gac.cifar10", "gac.imagenet", "gac.ms_resnet"]


def test_a_plan_goes_from_data_to_evaluation(capsys):
    reproduce.main(["plan", "sma.cifar10dvs"])
    printed = capsys.readouterr().out
    order = ["convert_dataset.py prepare cifar10dvs", "torchrun --standalone --nproc_per_node=4", "-b 96", "--eval"]
    positions = [printed.index(words) for words in order]
    assert positions == sorted(positions)


def test_a_plan_prints_known_gpu_hours_with_their_source(capsys):
    reproduce.main(["plan", "spikingformer.cifar10dvs"])
    assert "GPU hours 4.3 (4:16:23 in the authors' log, one GPU)" in capsys.readouterr().out


def test_a_plan_says_when_gpu_hours_are_not_known(capsys):
    reproduce.main(["plan", "sdt_v3.hardvs"])
    assert "GPU hours not known" in capsys.readouterr().out


def test_later_steps_start_from_earlier_ones(capsys):
    reproduce.main(["plan", "sdt_v3.imagenet_large", "--seed", "7"])
    printed = capsys.readouterr().out
    assert "--output-dir output/sdt_v3.imagenet_large/83-m-1x8/seed7/mae" in printed
    assert "--finetune output/sdt_v3.imagenet_large/83-m-1x8/seed7/mae/checkpoint-199.pth" in printed


def test_evaluation_does_not_start_from_a_checkpoint():
    table = tables()["spikingformer.imagenet"]
    assert "--resume" not in plan.evaluation(table, table.rows[-1], "best.pth")


def test_all_plans_are_printed_at_once(capsys):
    reproduce.main(["plan", "--all"])
    printed = capsys.readouterr().out
    assert all(f"{name}: {table.title}" in printed for name, table in tables().items())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["plan", "gac.mnist"], "no table 'gac.mnist': did you mean gac."),
        (["plan"], "name one table, or all with --all"),
        (["plan", "gac.cifar10", "--all"], "name one table, or all with --all"),
    ],
)
def test_mistakes_name_the_remedy(arguments, message):
    with pytest.raises(UserError) as error:
        reproduce.main(arguments)
    assert message in str(error.value)
