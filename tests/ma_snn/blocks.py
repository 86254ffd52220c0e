"""Compares one block of a network with the original: structure, output in eval and training, gradients, statistics."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tests.parity.harness import close, load
from tests.parity.seeded import load_seeded_weights, seeded_input


def check_block(file: Path, build: Callable[[dict], nn.Module]) -> None:
    """Compare what `build` makes of the meta dictionary with everything that the fixture holds."""
    meta, expected = load(file)
    block = load_seeded_weights(build(meta).double())
    assert [[key, list(value.shape)] for key, value in block.state_dict().items()] == meta["state_dict"]
    assert [name for name, _ in block.named_parameters()] == meta["parameters"]
    kind, shape, seed = (meta["input"][key] for key in ("kind", "shape", "seed"))
    x = torch.from_numpy(seeded_input(kind, shape, seed)).requires_grad_()
    if "output_eval" in expected:
        close(block.eval()(x), expected.pop("output_eval"), "output_eval")
    output = block.train()(x)
    close(output, expected.pop("output", expected.pop("output_train", None)), "output")
    (output * probe(seed, output)).sum().backward()
    close(x.grad, expected.pop("grad_input"), "grad_input")
    norms = torch.stack([p.grad.norm() for p in block.parameters()])
    close(norms, expected.pop("grad_norms"), "grad_norms", rtol=1e-7, atol=1e-9)
    if "running" in expected:
        state = block.state_dict()
        close(torch.stack([state[name].norm() for name in meta["running"]]), expected.pop("running"), "running")
    assert not expected, f"unchecked arrays: {sorted(expected)}"


def probe(seed: int, output: Tensor) -> Tensor:
    """The cotangent that the fixtures of this paper use."""
    return torch.from_numpy(np.random.RandomState(seed + 1000).standard_normal(tuple(output.shape)))
