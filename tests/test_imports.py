"""What a program needs only in some of its uses it imports only there: a bare `--help` takes two seconds, not five."""

import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = {
    "h5py", "matplotlib", "scipy", "sklearn", "spikingjelly", "tensorboard", "timm", "torch._dynamo", "torch._inductor",
    "torchvision",
}  # fmt: skip
HELPED = """
import argparse, contextlib, io, json, runpy, sys
from pathlib import Path

verbs, add_parser = [], argparse._SubParsersAction.add_parser

def add_and_remember(self, name, **settings):
    verbs.append(name)
    return add_parser(self, name, **settings)

def ask(program, *words):
    sys.argv = [program, *words, "--help"]
    sys.path.insert(0, str(Path(program).parent))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            runpy.run_path(program, run_name="__main__")
        except SystemExit as end:
            assert not end.code, (program, words)
    assert "usage:" in printed.getvalue(), (program, words)
    del sys.path[0]

argparse._SubParsersAction.add_parser = add_and_remember
asked = []
for program in sys.argv[1:]:
    verbs.clear()
    ask(program)
    found = list(dict.fromkeys(verbs))
    for verb in found:
        ask(program, verb)
    asked += [program, *found]
before = sorted(sys.modules)
import timm
print(json.dumps([asked, before, timm.list_models()]))
"""


def programs():
    """Every script that a user starts."""
    rooms = {path.parent for path in ROOT.glob("*/__init__.py")} - {ROOT / "tests"}
    files = sorted(path for room in rooms for path in room.rglob("*.py"))
    return [str(path) for path in files if '\nif __name__ == "__main__":' in path.read_text()]


def test_help_imports_nothing_heavy_and_timm_knows_the_networks_when_it_comes():
    command = [sys.executable, "-c", HELPED, *programs()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    asked, modules, networks = json.loads(done.stdout)
    assert len(asked) > 45 and "gradcam" in asked
    assert not HEAVY & set(modules)
    assert {"sma_vgg8_dvs128", "gac_ms_resnet34", "ms_resnet18", "ma_snn_dvsgait", "sdt_v3_5m"} <= set(networks)


def test_nothing_beside_a_script_hides_an_installed_package():
    beside = {path.stem for program in programs() for path in Path(program).parent.iterdir()}
    assert not beside & {name for name, owners in packages_distributions().items() if owners != ["spiking-papers"]}
