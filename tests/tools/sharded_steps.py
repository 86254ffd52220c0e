"""Run in several processes: steps of networks in parts, computing blocks again, against those of whole ones."""

import copy

import pytest
import timm
import torch

from common.training import start
from common.training.launch import run
from common.training.sharding import Sharded
from tests.tools.small_networks import lively
from tools.papers import cards


def losses(network, optimizer, images):
    """Of three steps; all processes have the same images, so that their mean gradient is that of one."""
    found = []
    for step in range(3):
        torch.manual_seed(step)
        optimizer.zero_grad()
        output = network(images)
        parts = output if isinstance(output, tuple) else (output,)
        loss = sum(part.square().mean() for part in parts if part.requires_grad)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        found.append(loss.item())
    return found


def main():
    process = start("cpu")
    families = [family for card in cards().values() for family in card.families if "_det_" not in family.example]
    for family in families:
        torch.manual_seed(0)
        whole = lively(timm.create_model(family.example, **family.small)).double().train()
        model, images = copy.deepcopy(whole), torch.rand(whole.layout.at(32).shape(2), dtype=torch.float64)
        expected = losses(whole, optimizer_of(whole), images)
        if hasattr(model, "set_grad_checkpointing"):
            model.set_grad_checkpointing()
        optimizer = optimizer_of(model)
        found = losses(Sharded(model, optimizer, None, process).network, optimizer, images)
        assert found == pytest.approx(expected, rel=1e-9), family.example
        print(family.example, "is the same", flush=True)


def optimizer_of(model):
    return timm.optim.Lamb(model.parameters(), lr=1e-2, trust_clip=True)


if __name__ == "__main__":
    run(main)
