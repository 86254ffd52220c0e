"""The report, on two small tables: what it counts, and what it says of given runs and tests."""

import html.parser

import pytest

from common.analysis.operations import count_operations
from common.errors import UserError
from tools import reproduce
from tools.reproduction import counts, evidence, report, runs
from tools.reproduction.document import Grid, Heading, Picture, Text, markdown, web_page
from tools.reproduction.tables import tables

CHOSEN = ("gac.cifar10", "spikingformer.cifar10dvs")
ROW = "output/gac.cifar10/ms-resnet18-t-4"
JUNIT = """<testsuites><testsuite>
<testcase classname="tests.gac.test_models" name="a"/>
<testcase classname="tests.gac.test_models" name="b"><failure/></testcase>
<testcase classname="tests.sma.test_models" name="c"><skipped/></testcase>
</testsuite></testsuites>"""


def make_report(folder, *arguments):
    """Write a report that knows the chosen tables only; returns its Markdown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "tables", lambda: {name: tables()[name] for name in CHOSEN})
        reproduce.main(["report", "--output", str(folder), *map(str, arguments)])
    return (folder / "report.md").read_text()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Folder of a report without runs and tests."""
    folder = tmp_path_factory.mktemp("report")
    make_report(folder)
    return folder


@pytest.fixture
def plain_text(plain):
    """Its Markdown."""
    return (plain / "report.md").read_text()


@pytest.fixture
def written(tmp_path):
    """Writes a report and returns its Markdown."""
    return lambda *arguments: make_report(tmp_path / "report", *arguments)


def write_run(folder, accuracies):
    """A log.csv as a run leaves it."""
    lines = [f"{epoch},1.0,50,1.0,{accuracy}" for epoch, accuracy in enumerate(accuracies, 1)]
    write_log(folder, "epoch,train_loss,train_acc1,test_loss,test_acc1", *lines)


def write_log(folder, *lines):
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("\n".join(lines))


class Links(html.parser.HTMLParser):
    """Where the pictures of a page are, its links to its own parts, and whether what begins ends."""

    def __init__(self):
        super().__init__()
        self.sources, self.open = [], []
        self.links, self.places = set(), set()

    def handle_starttag(self, tag, attributes):
        self.links.update(value for name, value in attributes if name == "href")
        self.places.update(f"#{value}" for name, value in attributes if name == "id")
        if tag == "img":
            self.sources.append(dict(attributes)["src"])
        elif tag not in ("meta", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_file_with_its_pictures(plain):
    page = Links()
    page.feed((plain / "report.html").read_text())
    assert page.open == []
    assert len(page.sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert page.links <= page.places


def test_the_page_fits_a_phone(plain):
    page = (plain / "report.html").read_text()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert page.count("<table>") == page.count("<table>\n<tr><th>") == page.count("</table></div>")


def test_pictures_of_the_markdown_lie_beside_it(plain, plain_text):
    for name in ("operations.png", "curves-spikingformer.cifar10dvs.png"):
        assert f"({name})" in plain_text
        assert (plain / name).read_bytes().startswith(b"\x89PNG")


def test_parameters_stand_beside_the_published_ones(plain_text):
    assert "| gac.cifar10 | MS-ResNet18, T = 6 | 12.63 M | +0.03 % | 12,633,198 | equal | 12,633,198 |" in plain_text


def test_no_accuracy_is_established_without_runs(plain_text):
    assert "no accuracy is established by it" in plain_text


def test_tests_that_were_not_run_are_not_counted(plain_text):
    assert "The tests were not run in this report" in plain_text


def test_layers_of_each_row_are_in_a_table(plain):
    (layers,) = plain.glob("operations/gac.cifar10-ms-resnet18-t-6.csv")
    assert layers.read_text().startswith("layer,kind,operations\nconv1,conv,")


def test_unfinished_runs_are_compared_with_nothing(written, tmp_path):
    write_run(tmp_path / ROW / "seed1000", [10, 90])
    text = written("--runs", tmp_path / "output")
    assert "| MS-ResNet18, T = 4, seed 1000 | 1000 | 2 of 250 | 90.00 | 90.00 (epoch 2) |" in text
    assert "No run has all epochs of the recipe" in text


def test_finished_runs_give_last_and_best_epoch_over_seeds(written, tmp_path):
    write_run(tmp_path / ROW / "seed1", [10] * 248 + [96, 94])
    write_run(tmp_path / ROW / "seed2", [10] * 248 + [97, 95])
    text = written("--runs", tmp_path / "output")
    assert "2 seeds, mean ± standard deviation; last epoch 94.50 ± 0.71 %, best epoch on the test set 96.50" in text
    assert "published 96.24 % (a later paper that cites it), best test epoch, as the original." in text


def test_firing_rates_and_energies_of_runs_stand_beside_the_published_ones(plain_text, tmp_path, monkeypatch):
    assert "They are of different weights" in plain_text.replace("*", "")
    folder = tmp_path / "output/ma_snn.gesture/conv-snn-lif-tcsa/seed0/name"
    write_run(folder, [10, 90])
    (folder / "firing_rates.csv").write_text("layer,rate\na,0.25\nb,0.5\n")
    header = "layer,kind,operations,mac,ac,rate,input,counted,millijoules\n"
    (folder / "energy.csv").write_text(f"{header}a,conv,1,1,1,1,dense,True,2\nb,bn,1,1,1,1,dense,False,4\n")
    monkeypatch.setattr(report, "tables", lambda: {"ma_snn.gesture": tables()["ma_snn.gesture"]})
    (grid,) = (one for one in report.rate_section(runs.find_runs([tmp_path])) if isinstance(one, Grid))
    (line,) = (line for line in markdown([grid]).splitlines() if "LIF TCSA" in line)
    assert line.startswith("| ma_snn.gesture | conv SNN, LIF TCSA | 0.026 | not known | NASAR, arXiv 2209.13929 |")
    assert line.endswith("| 0.375 | 2 | conv SNN, LIF TCSA, seed 0 |")


def test_other_runs_are_shown_and_compared_with_nothing(written, tmp_path):
    write_run(tmp_path / "mine", [10, 20])
    text = written("--runs", tmp_path / "mine")
    assert "These belong to no row of a table" in text
    assert "(curves-other-runs.png)" in text


def test_detectors_and_segmentors_are_runs_too(written, tmp_path):
    write_log(tmp_path / "output/sdt_v3.coco/10-m/seed0", "epoch,train_loss,test_bbox_mAP,test_segm_mAP", "1,2,30,20")
    write_log(tmp_path / "output/mine", "epoch,train_loss,test_mIoU", "1,2,41", "2,1,39")
    text = written("--runs", tmp_path / "output")
    assert "| 10 M, seed 0 | 0 | 1 of 12 | 30.00 | 30.00 (epoch 1) | AP of boxes (%) |" in text
    assert "| 2 | 39.00 | 41.00 (epoch 1) | mean IoU (%) |" in text


def test_an_early_step_of_a_row_is_not_its_result(tmp_path):
    folder = tmp_path / "sdt_v3.imagenet_large" / "83-m-1x8" / "seed0"
    write_run(folder / "tuned", [50])
    write_run(folder / "kd", [60])
    assert {run.row and run.last for run in runs.find_runs([tmp_path])} == {None, 60}


def test_a_run_of_spikingformer_is_read_once(tmp_path):
    write_run(tmp_path / "run", [10, 20])
    (tmp_path / "run" / "summary.csv").write_text("epoch,train_loss,eval_loss,eval_top1\n0,1,1,10\n1,1,1,20\n")
    assert [run.epochs for run in runs.find_runs([tmp_path])] == [2]


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no log\.csv or summary\.csv in it or below it; name the output folder"):
        runs.find_runs([tmp_path])


def test_outcomes_of_tests_are_counted_by_folder(written, tmp_path):
    (tmp_path / "tests.xml").write_text(JUNIT)
    text = written("--junit", tmp_path / "tests.xml")
    assert "| gac | 1 | 1 | 0 |\n| sma | 0 | 0 | 1 |" in text


def test_a_file_that_is_no_test_run_is_named(tmp_path):
    (tmp_path / "tests.xml").write_text("no xml")
    with pytest.raises(UserError, match=r"tests\.xml: cannot be read .*; write it with pytest --junit-xml="):
        evidence.outcomes(tmp_path / "tests.xml")


def test_every_fixture_is_counted():
    files = list((evidence.ROOT / "tests" / "parity").glob("*/*.npz"))
    assert len(evidence.fixtures()) == len(files)


def test_a_narrow_network_is_no_parity_of_the_published_one():
    rows = {row.model: row for table in tables().values() for row in table.rows if not row.missing}
    assert evidence.status(rows["sdt_v3_173m"]) == "runs"  # its fixtures have other widths
    assert evidence.status(rows["sdt_v3_10m"]) == "parity"
    imagenet = {row.method: row for row in tables()["ma_snn.imagenet"].rows if "34" in row.network}
    assert [evidence.status(imagenet[f"{kind}, T = 1"]) for kind in ("no", "CA", "CSA")] == ["runs", "runs", "parity"]


def test_operations_from_shapes_are_those_of_a_real_run():
    row = tables()["spikingformer.cifar10"].rows[0]
    model = counts.network(row, "cpu")
    layers = count_operations(model, [counts.torch.randn(model.layout.shape())])
    measured = {layer.name: (layer.kind, layer.operations) for layer in layers if layer.kind in counts.PRODUCTS}
    assert {name: (kind, operations) for name, kind, operations in counts.operations(row)} == measured


def test_only_first_convolution_and_head_of_spikingformer_get_real_numbers():
    share, number = counts.on_real_numbers(tables()["spikingformer.cifar10"].rows[0])
    assert number == 2
    assert 0 < share < 1e-3


def test_text_is_escaped_in_html_and_pipes_in_markdown(tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    document = [Heading("T", 1), Text("1 < 2 `x`"), Grid(["a"], [["b|c"]]), Picture(tmp_path / "a.png", '"q"')]
    page = web_page(document)
    assert "<p>1 &lt; 2 <code>x</code></p>" in page
    assert '<img alt="&quot;q&quot;" src="data:image/png;base64,cGljdHVyZQ=="><figcaption>&quot;q&quot;<' in page
    assert markdown(document) == '# T\n\n1 < 2 `x`\n\n| a |\n| --- |\n| b/c |\n\n!["q"](a.png)\n'


def test_the_report_tells_its_environment(plain_text):
    assert "| versions | torch |" in plain_text
