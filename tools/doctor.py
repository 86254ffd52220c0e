"""What this installation is, which neuron backend serves which tensors, what reads events, and why not something else.

    python tools/doctor.py
    python tools/doctor.py --json

SNN_BACKEND is obeyed as everywhere.
"""

import argparse
import json
import os
import platform
from importlib import metadata

import torch

from common.errors import UserError
from common.events import compiled
from common.kernels import dispatch
from common.training import run

PACKAGES = ("torch", "torchvision", "timm", "spikingjelly", "numpy")
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def main(arguments: list[str] | None = None) -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    report = examine()
    print(json.dumps(report, indent=2) if options.json else readable(report))


def examine() -> dict:
    """The report as nested dictionaries of text.

    Raises:
        UserError: SNN_BACKEND names no backend.
    """
    backend = dispatch.wanted()
    return {
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "processor": {
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "cores": str(os.cpu_count()),
            "threads of torch": str(torch.get_num_threads()),
        },
        "cuda": {
            "torch is built for": torch.version.cuda or "no CUDA",
            "devices": ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))) or "none",
        },
        "neuron backend": {"wanted": backend},
        "neurons on CPU tensors": neurons("cpu"),
        "neurons on CUDA tensors": neurons("cuda"),
        "events": events(),
    }


def version(package: str) -> str:
    """Installed version of a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent: run `pip install -r requirements.txt`"


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
        if reason:
            report[f"not {name}"] = reason
    return report


def events() -> dict[str, str]:
    """What decodes recordings and counts events, and why it is not the compiled code."""
    loaded = compiled.library(compiled.LIBRARY)
    if isinstance(loaded, str):
        return {"readers and frames": "NumPy", "not compiled": loaded}
    return {"readers and frames": "compiled"}


def readable(report: dict) -> str:
    """The report as aligned lines under headings."""
    lines = []
    for heading, entries in report.items():
        width = max(map(len, entries))
        lines += [heading, *(f"  {name:{width}}  {text}" for name, text in entries.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
