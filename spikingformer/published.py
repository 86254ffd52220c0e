"""What the authors published of their runs: training curves, and firing rates with operation counts per layer.

`data/original_curves.json` and `data/energy_logs.json` hold figures read from the logs in the authors' repositories
(Apache-2.0): about 25 epochs of each of 12 runs, and the energy logs of three networks.
"""

import json
from importlib.resources import files

from common.analysis.operations import LayerOperations, attention_operations


def curves() -> dict[str, dict]:
    """The published runs by name; `points` holds epoch (from 0), lr, train_loss, val_loss, top1 and top5 (%)."""
    return _data("original_curves")["runs"]


def energy_logs() -> dict[str, dict]:
    """The published energy logs by network; `reported_energy_mJ` is the total that the authors print."""
    return _data("energy_logs")["models"]


def logged_layers(log: dict) -> list[LayerOperations]:
    """The layers of an energy log, with the attention products that it gives by their firing rates alone."""
    info = log["ssa_info"]
    sizes = info["Tsteps"], info["Nheads"], info["patchSize"] ** 2, info["embSize"] // info["Nheads"]
    layers = [
        LayerOperations(one["name"], "conv", one["dense_ops"], one["ac"], one["mac"], (one["rate_percent"] / 100,))
        for one in log["layers"]
    ]
    rates = enumerate(log["qkv_firing_rates"])
    return layers + [attention_operations(f"block.{i}", *sizes, tuple(qkv)) for i, qkv in rates]


def _data(name: str) -> dict:
    return json.loads((files("spikingformer") / "data" / f"{name}.json").read_text())
