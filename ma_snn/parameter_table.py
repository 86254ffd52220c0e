"""How many parameters each attention adds: `python -m ma_snn.parameter_table` prints the table of the README."""

import timm
import torch

import ma_snn  # noqa: F401  registers the networks with timm
from ma_snn.models.attention import ATTENTIONS

NETWORKS = {"Gesture": "ma_snn_dvsgestures", "CIFAR10-DVS": "ma_snn_cifar10dvs", "Gait": "ma_snn_dvsgait"}


def parameter_table() -> str:
    """Markdown table of attentions and networks with the published settings; LIF and LIAF have equally many."""
    rows = [["`--attention`", *NETWORKS], ["---", *("--:" for _ in NETWORKS)]]
    with torch.device("meta"):
        for attention in ATTENTIONS:
            models = (timm.create_model(name, attention=attention) for name in NETWORKS.values())
            counts = (sum(parameter.numel() for parameter in model.parameters()) for model in models)
            rows.append([attention, *(f"{count:,}" for count in counts)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(parameter_table())
