"""A paper is its folder, its file of tables and one line in pyproject.toml: the tools find the rest."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from tools import energy, export, fetch_weights, papers, reproduce, visualize
from tools.networks import build
from tools.reproduction import blocks, tables
from tools.weights.lock import read_lock

ROOT = Path(__file__).resolve().parents[1]
TEXT = (".py", ".toml", ".md", ".yml", ".json", ".h", ".cpp", ".cu")

CARD = '''"""A paper that nobody wrote."""

from common.paper import Article, Family, Paper
from common.analysis.energy import Formula
from sixth import models

PAPER = Paper(
    package=__name__,
    title="The Sixth Paper (2031)",
    articles=(Article(title="Spikes Again", authors=("Doe, J.",), year=2031),),
    reference="Sixth, 2031",
    code="example.org/sixth",
    licence="MIT",
    data="CIFAR10",
    example="python sixth/train.py",
    families=(Family("sixth_*", "sixth_net", {"T": 2}),),
    energy=Formula(kinds=("conv",), source="nobody"),
    attention_readers="sixth.models:READERS",
    unexportable="sixth.models:unexportable",
)
'''
MODELS = '''"""Its network."""

from torch import nn

from common.layout import Layout
from common.layers import TimeConv2d
from common.neurons import LIFNode
from common.registry import register


class Net(nn.Module):
    """Frames to logits."""

    def __init__(self, T=4, num_classes=10):
        super().__init__()
        self.T, self.layout = T, Layout("t b c h w", 2, (16, 16), T)
        self.conv, self.lif, self.head = TimeConv2d(2, 4, 3), LIFNode(), nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.lif(self.conv(x)).mean((3, 4))).mean(0)


@register
def sixth_net(**kwargs):
    """The network."""
    return Net(**kwargs)


def unexportable(model):
    """One number of steps is said to be too much."""
    return "T is 13" if model.T == 13 else ""


READERS = {Net: lambda module, inputs, output: []}
'''
TABLE = """
title = "Sixth (2031)"
notes = "sixth/README.md#notes"
reference = "nowhere"

[tables.cifar10]
title = "Sixth on CIFAR10"
data = "cifar10"
script = "sixth/train.py"
epochs = 1
recipe = "none"
best = "best.pt"
selection = "last epoch"
rows = [{ network = "Sixth", model = "sixth_net", accuracy = 12.3, source = "nowhere" }]
"""
FILES = {
    "sixth/__init__.py": CARD,
    "sixth/models.py": MODELS,
    "sixth/README.md": "# Sixth\n\n<!-- table: sixth -->\n<!-- end -->\n",
    "sixth/smoke.toml": 'chains = [[["LAUNCH sixth/train.py --tiny", 50]]]\n',
    "sixth/weights.toml": '[sixth.sixth_best]\nstatus = "unpublished"\nmodel = "sixth_net"\ncreate = { T = 4 }\n',
    "tools/tables/sixth.toml": TABLE,
}


def not_text(folder, names):
    """What no tool needs, such as data and results that a user's scripts have left."""
    return [name for name in names if Path(folder, name).is_file() and Path(name).suffix not in TEXT]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The repository with a sixth paper; nothing is changed but one line of pyproject.toml."""
    root = tmp_path_factory.mktemp("clones") / "clone"
    root.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, root)
        elif path.name == "ci" or ((path / "__init__.py").exists() and path.name != "tests"):
            shutil.copytree(path, root / path.name, ignore=not_text)
    for path, content in FILES.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(content)
    pyproject = root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"sdt_v3", "sma"', '"sdt_v3", "sixth", "sma"'))
    return root


@pytest.fixture(scope="module")
def sixth(clone):
    """The tools as they are in the clone."""

    def forget():
        for function in (papers.papers, tables.tables, tables.paper_titles):
            function.cache_clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(clone))
        patch.setattr(papers, "ROOTS", [clone])
        patch.setattr(tables, "FOLDER", clone / "tools" / "tables")
        patch.setattr(blocks, "ROOT", clone)
        forget()
        yield papers.papers()["sixth"]
        for name in ("sixth", "sixth.models"):
            del sys.modules[name]
    forget()


def written(clone, document):
    return blocks.updated((clone / document).read_text(), document)


def test_its_networks_are_found_and_built(sixth):
    assert "sixth_net" in papers.networks()
    assert papers.family_of("sixth_net").small == {"T": 2}
    assert build("sixth_net", ["T=3"]).layout.shape(5) == (3, 5, 2, 16, 16)


def test_its_networks_are_exported_in_their_own_layout(sixth, tmp_path, capsys):
    export.main(["sixth_net", "--output", str(tmp_path / "net.pt2")])
    assert "takes [4, any, 2, 16, 16]" in capsys.readouterr().out


def test_what_it_says_cannot_be_exported_is_refused(sixth):
    with pytest.raises(UserError, match="sixth_net cannot be exported: T is 13"):
        export.main(["sixth_net", "--kwargs", "T=13"])


def test_its_energy_is_counted_by_its_formula(sixth, tmp_path, capsys):
    energy.main(["sixth_net", "--output-dir", str(tmp_path)])
    assert "sixth_net, input [4, 1, 2, 16, 16], formula sixth: E = 4.6 pJ" in capsys.readouterr().out


def test_its_attention_has_a_reader(sixth):
    assert "Net" in [kind.__name__ for kind in visualize.readers()]


def test_its_tables_are_listed_and_planned(sixth, capsys):
    reproduce.main(["list", "--paper", "sixth"])
    reproduce.main(["plan", "sixth.cifar10"])
    printed = capsys.readouterr().out
    assert "Sixth on CIFAR10" in printed
    assert "python sixth/train.py --data-path" in printed


@pytest.mark.parametrize(
    "document, line",
    [
        ("README.md", "| [sixth/](sixth/README.md) | The Sixth Paper (2031) | CIFAR10 | `python sixth/train.py` |"),
        ("README.md", "| Sixth (2031) | `sixth.cifar10` | 1 | 1 | 1 runs |"),
        ("THIRD_PARTY.md", "| Sixth, 2031 | example.org/sixth | MIT |"),
        ("CITATION.cff", '    title: "Spikes Again"\n    authors:\n      - {family-names: Doe, given-names: J.}\n'),
        ("sixth/README.md", "| Sixth on CIFAR10 (`sixth.cifar10`) | Sixth | 12.3 | nowhere | not known | 126 | runs |"),
    ],
)
def test_its_lines_are_generated(sixth, clone, document, line):
    assert clone / document in blocks.documents()
    assert line in written(clone, document)


def test_its_weights_are_listed(sixth, capsys):
    assert read_lock()["sixth_best"].model == "sixth_net"
    fetch_weights.main(["list", "--paper", "sixth"])
    assert "sixth_best  unpublished" in capsys.readouterr().out


def test_its_commands_are_run_by_smoke(clone):
    chains = runpy.run_path(str(clone / "ci" / "smoke.py"))["chains"]()
    assert [("-m torch.distributed.launch --standalone --nproc_per_node 2 sixth/train.py --tiny", 50)] in chains


def test_it_is_installed(clone, tmp_path):
    command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path)]
    subprocess.run(command, cwd=clone, check=True, capture_output=True)
    rooms = next(tmp_path.glob("*.egg-info/top_level.txt")).read_text().split()
    assert rooms == ["common", "gac", "ma_snn", "sdt_v3", "sixth", "sma", "spikingformer", "tools"]


@pytest.mark.parametrize(
    "file, line, kept",
    [
        ("sixth/models.py", "import common.training", True),
        ("tools/energy.py", "import sixth", True),
        ("sixth/models.py", "import gac", False),
        ("gac/models/gau.py", "from sixth import models", False),
        ("common/layers.py", "import sixth", False),
        ("common/layers.py", "import tools.text", False),
        ("sixth/models.py", "from tools.papers import papers", False),
    ],
)
def test_it_is_held_to_the_import_contract(clone, file, line, kept):
    before = (clone / file).read_text()
    (clone / file).write_text(f"{before}\n{line}\n")
    try:
        command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
        done = subprocess.run(command, cwd=clone, env={"PYTHONPATH": str(clone)}, capture_output=True, text=True)
    finally:
        (clone / file).write_text(before)
    assert (done.returncode == 0, "0 broken" in done.stdout) == (kept, kept), done.stdout + done.stderr
