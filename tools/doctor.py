"""What this installation is and what it lacks: packages, neuron backends, readers, launcher, data sets, weights.

    python tools/doctor.py
    python tools/doctor.py --quick     starts no processes
    python tools/doctor.py --json

Problems come last, each with its remedy, and make the exit status 1; what is merely absent (a GPU, CuPy, data sets,
weights) is reported and is no problem. SNN_BACKEND is obeyed as everywhere.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import Requirement

from common.errors import UserError
from common.events import compiled
from common.kernels import cuda, dispatch, spikes
from common.training import run
from common.weights import store_folder
from tools.data_sets import data_sets
from tools.text import aligned
from tools.weights.store import names_in_store

DISTRIBUTION = "spiking-papers"
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
ROOT = Path(__file__).resolve().parent.parent
HELLO = """
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
total = torch.ones(1)
dist.all_reduce(total)
dist.destroy_process_group()
assert total == 2
"""
"""What two launched processes run."""


def main(arguments: list[str] | None = None) -> None:
    """Print the report; exit with status 1 if it names problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quick", action="store_true", help="do not try the launcher")
    options = parser.parse_args(arguments)
    report = examine(quick=options.quick, show=None if options.json else lambda text: print(text, flush=True))
    if options.json:
        print(json.dumps(report, indent=2))
    if report["problems"]:
        raise SystemExit(1)


def examine(*, quick: bool, show: Callable[[str], None] | None = None) -> dict[str, dict[str, str]]:
    """The report as nested dictionaries of text, "problems" the last; `show` is given its lines as they are found.

    Raises:
        UserError: SNN_BACKEND names no backend.
    """
    report: dict[str, dict[str, str]] = {}
    sections = {
        "versions": lambda: {"python": platform.python_version()} | versions(),
        "processor": processor,
        "cuda": devices,
        "neuron backend": lambda: {"wanted": dispatch.wanted()},
        "neurons on CPU tensors": lambda: neurons("cpu"),
        "neurons on CUDA tensors": lambda: neurons("cuda"),
        "convolutions": convolutions,
        "events": events,
        "launcher": lambda: {"two processes": "not tried" if quick else launcher()},
        "data sets": homes,
        "weights": weights,
        "problems": lambda: problems(report),
    }
    for heading, look in sections.items():
        if show:
            show(heading)
        report[heading] = look()
        if show:
            show("\n".join(f"  {line}" for line in aligned(report[heading] or {"none": ""})))
    return report


def processor() -> dict[str, str]:
    """What computes."""
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": str(os.cpu_count()),
        "threads of torch": str(torch.get_num_threads()),
    }


def devices() -> dict[str, str]:
    """The GPUs, and what launches kernels on them; CuPy is of no use without one."""
    names = ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))
    return {
        "torch is built for": torch.version.cuda or "no CUDA",
        "devices": names or "none",
        "CuPy": (cuda.missing() or "launches kernels") if names else "not needed: there is no CUDA device",
    }


def versions() -> dict[str, str]:
    """What is installed of each package that this project requires, and whether it is too old or missing."""
    found = {}
    for requirement in map(Requirement, metadata.requires(DISTRIBUTION) or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found[requirement.name] = f"MISSING: {requirement} is needed, run `pip install -r requirements.txt`"
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        remedy = f" TOO OLD: {requirement} is needed, run `pip install -r requirements.txt`"
        found[requirement.name] = version + remedy * (not fits)
    return found


def neurons(device_type: str) -> dict[str, str]:
    """The backend of each dtype, and why each other backend does not serve float32."""
    report = {}
    for dtype in DTYPES:
        try:
            report[str(dtype).removeprefix("torch.")] = dispatch.choose(device_type, dtype)
        except UserError as error:
            report[str(dtype).removeprefix("torch.")] = f"none: {error}"
    for name, refusal in dispatch.REFUSALS.items():
        reason = refusal(device_type, torch.float32)
        if device_type == name == "cuda" and not torch.cuda.is_available():
            reason = "there is no CUDA device"
        if reason:
            report[f"not {name}"] = reason
    return report


def events() -> dict[str, str]:
    """What decodes recordings and counts events, and why it is not the compiled code."""
    loaded = compiled.library(compiled.LIBRARY)
    if isinstance(loaded, str):
        return {"readers and frames": "NumPy", "not compiled": loaded}
    return {"readers and frames": "compiled"}


def convolutions() -> dict[str, str]:
    """Whether convolutions of spikes skip zeros, and why not."""
    reason, part = spikes.refusal(), spikes.BFLOAT16_SHARE
    limits = ", ".join(f"{kind} {share:.0%}" for kind, (share, _) in spikes.LIMITS.items())
    how = f"skip zeros where at most so many inputs are spikes: {limits}; dense elsewhere"
    narrow = f"the same at {part:.0%} of those densities" if part else "dense, by AMX"
    return {
        "wanted": dispatch.convolution_wanted(),
        "kernels": spikes.LIBRARY.name.partition(".")[0],
        "on CPU tensors, float32": f"dense: {reason}" if reason else how,
        "on CPU tensors, bfloat16": f"dense: {reason}" if reason else narrow,
    }


def launcher() -> str:
    """Whether two processes of `torch.distributed.run` find each other and add up their numbers."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "hello.py"
        script.write_text(HELLO)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            return "FAILED: no answer in 120 s; a firewall may keep processes of this machine apart"
    if done.returncode:
        causes = [line for line in done.stderr.splitlines() if "Error: " in line]
        return f"FAILED: {causes[0].strip() if causes else f'exit status {done.returncode}'}"
    return f"work together, {time.monotonic() - begin:.0f} s to start"


def homes() -> dict[str, str]:
    """Which data sets lie where the papers' scripts look for them."""
    return {
        name: f"something in {data.home}" if has_data(ROOT / data.home) else f"not in {data.home}"
        for name, data in data_sets().items()
    }


def has_data(folder: Path) -> bool:
    """Whether a folder holds anything but code."""
    return folder.is_dir() and any(path.suffix != ".py" and path.name != "__pycache__" for path in folder.iterdir())


def weights() -> dict[str, str]:
    """Which published weights are in the store."""
    return {"in " + str(store_folder()): ", ".join(names_in_store()) or "none; `python tools/fetch_weights.py list`"}


def problems(report: dict[str, dict[str, str]]) -> dict[str, str]:
    """Every entry of the report that something documented cannot work with, and a slow CPU backend."""
    marks = ("MISSING", "TOO OLD", "FAILED", "none: ")
    found = {
        f"{heading}, {name}": text
        for heading, entries in report.items()
        for name, text in entries.items()
        if any(mark in text for mark in marks) and heading != "neurons on CUDA tensors"
    }
    if torch.cuda.is_available() and cuda.missing():
        found["CUDA without its kernels, slow"] = cuda.missing()
    if report["neuron backend"]["wanted"] == "auto" and "not cpu" in report["neurons on CPU tensors"]:
        found["CPU without its kernels, slow"] = report["neurons on CPU tensors"]["not cpu"]
    if "not compiled" in report["events"]:
        found["events without compiled code, slow"] = report["events"]["not compiled"]
    return found


if __name__ == "__main__":
    run(main)
