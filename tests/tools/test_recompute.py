"""Gradient checkpointing changes neither a gradient, nor what batch norms count, nor a random number."""

import pytest
import timm
import torch

from common.kernels.recomputed import keeping_inputs
from common.recompute import Blocks
from tests.tools.small_networks import lively
from tools.papers import cards

WITH = {
    "sma_resnet18": {"AZO": True},
    "spikingformer_cifar_2_384": {"drop_path_rate": 0.3},
    "sdt_v3_83m": {"drop_path": 0.5},
    "sdt_v3_mae_83m": {"drop_path": 0.5},
}
"""What makes a network draw random numbers, and what differs in training."""
FAMILIES = [
    pytest.param(family.example, dict(family.small) | WITH.get(family.example, {}), id=family.example)
    for card in cards().values()
    for family in card.families
    if hasattr(timm.create_model(family.example, **family.small), "set_grad_checkpointing")
    and "det_" not in family.example
]


def numbers(output):
    """The parts of an output that have a gradient, in one sum of squares."""
    parts = output if isinstance(output, tuple) else (output,)
    return sum(part.square().sum() for part in parts if part.requires_grad)


def step(model, images):
    """Gradients, buffers and the next random number after a step of training."""
    torch.manual_seed(1)
    model.zero_grad()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    numbers(model(images)).backward()
    after = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.load_state_dict(before, strict=False)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return gradients | after | {"random": torch.rand(3)}


@pytest.mark.parametrize(("name", "arguments"), FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_step_is_the_same_bit_for_bit(name, arguments, dtype):
    torch.manual_seed(0)
    model = lively(timm.create_model(name, **arguments)).to(dtype).train()
    images = torch.rand(model.layout.at(32, 2).shape(2), dtype=dtype)
    with keeping_inputs():
        expected = step(model, images)
    model.set_grad_checkpointing()
    assert any(module.grad_checkpointing for module in model.modules() if isinstance(module, Blocks))
    found = step(model, images)
    assert found.keys() == expected.keys()
    different = [key for key, value in expected.items() if not torch.equal(found[key], value)]
    assert not different and any(value.abs().sum() > 0 for value in expected.values())
