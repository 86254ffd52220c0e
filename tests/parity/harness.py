"""Compares a network with what the original code computed, in float64, from a fixture file.

Everything that a fixture holds is checked: a key that no check covers fails the test.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from tests.parity.seeded import load_fixture, load_seeded_weights, seeded_input, seeded_labels

FOLDER = Path(__file__).parent
RTOL, ATOL = 1e-9, 1e-11


def fixtures(paper: str, *patterns: str) -> list:
    """Parametrisation over the fixture files of a paper whose names match a pattern."""
    files = [file for pattern in patterns for file in sorted((FOLDER / paper).glob(f"{pattern}.npz"))]
    assert files, f"no fixture of {paper} matches {patterns}"
    return [pytest.param(file, id=file.stem) for file in files]


def load(file: Path) -> tuple[dict, dict[str, Tensor]]:
    """Meta dictionary and arrays (as tensors) of a fixture."""
    meta, arrays = load_fixture(file)
    return meta, {name: torch.from_numpy(array) for name, array in arrays.items()}


def close(actual, expected, name: str = "", rtol: float = RTOL, atol: float = ATOL) -> None:
    """Assert equality up to rounding, with NaN equal to nothing."""
    torch.testing.assert_close(
        torch.as_tensor(actual, dtype=torch.float64).detach(),
        torch.as_tensor(expected, dtype=torch.float64),
        rtol=rtol,
        atol=atol,
        msg=lambda text: f"{name}: {text}",
    )


def seeded_model(meta: dict) -> nn.Module:
    """The network of a fixture in float64 with its seeded weights, dropout off."""
    model = timm.create_model(meta["create"]["model"], **meta["create"]["kwargs"]).double()
    reseed(model, meta)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model


@torch.no_grad()
def reseed(model: nn.Module, meta: dict) -> None:
    """Load the fixture's weights and buffers into `model`, in place."""
    load_seeded_weights(model)
    state = model.state_dict()
    for key, factor in meta.get("weight_scale", {}).items():
        state[key].mul_(factor)


def seeded_data(meta: dict) -> tuple[Tensor, Tensor]:
    """Input as drawn (before any transposition) and labels."""
    drawn = seeded_input(meta["input"]["kind"], meta["input"]["shape"], meta["input"]["seed"])
    labels = seeded_labels(meta["input"]["shape"][0], meta["classes"], meta["labels_seed"])
    return torch.from_numpy(meta["input"].get("scale", 1.0) * drawn), torch.from_numpy(labels)


class Rates:
    """Mean output of each named neuron, recorded by hooks while open."""

    def __init__(self, model: nn.Module, names: list[str]):
        self.values: dict[str, float] = {}
        modules = dict(model.named_modules())
        self.names = names
        self.hooks = [modules[name].register_forward_hook(self._record(name)) for name in names]

    def _record(self, name: str):
        def hook(module, inputs, output):
            self.values[name] = output.detach().double().mean().item()

        return hook

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for hook in self.hooks:
            hook.remove()

    def array(self) -> np.ndarray:
        return np.array([self.values[name] for name in self.names])


def calibrate(model: nn.Module, forward: Callable[[], Tensor]) -> None:
    """Set BN running statistics to those of one training forward, then switch to eval."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()
    with torch.no_grad():
        forward()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def check_structure(model: nn.Module, meta: dict) -> None:
    """Keys in order, shapes, parameter order and parameter count."""
    assert [[key, list(value.shape)] for key, value in model.state_dict().items()] == meta["state_dict"]
    assert [name for name, _ in model.named_parameters()] == meta["parameters"]
    assert sum(p.numel() for p in model.parameters()) == meta["parameter_count"]


def check_network(
    file: Path,
    prepare: Callable[[Tensor], Tensor],
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
) -> None:
    """Build the fixture's network and compare structure, eval, training, calibrated eval and five steps."""
    meta, expected = load(file)
    model = seeded_model(meta)
    check_structure(model, meta)
    drawn, labels = seeded_data(meta)
    x = prepare(drawn)

    def compare(mode: str, logits: Tensor, rates: Rates) -> None:
        close(logits, expected.pop(f"logits_{mode}"), f"logits_{mode}")
        close(rates.array(), expected.pop(f"rates_{mode}", rates.array()), f"rates_{mode}")

    model.eval()
    with torch.no_grad(), Rates(model, meta["neurons"]) as rates:
        compare("eval", model(x), rates)

    model.train()
    with Rates(model, meta["neurons"]) as rates:
        logits = model(x)
    compare("train", logits, rates)
    loss = loss_fn(logits, labels)
    loss.backward()
    close(loss, expected.pop("loss"), "loss")
    norms = [p.grad.norm() if p.grad is not None else torch.zeros(()) for p in model.parameters()]
    close(torch.stack(norms), expected.pop("grad_norms"), "grad_norms", rtol=1e-7, atol=1e-8)
    state = model.state_dict()
    close(torch.stack([state[name].norm() for name in meta["running"]]), expected.pop("running"), "running")

    if "logits_eval_calibrated" in expected:
        reseed(model, meta)
        calibrate(model, lambda: model(x))
        with torch.no_grad(), Rates(model, meta["neurons"]) as rates:
            compare("eval_calibrated", model(x), rates)
    if "losses" in expected:
        close(train_steps(model, meta, x, labels, loss_fn, optimizer), expected.pop("losses"), "losses")
    assert not expected, f"unchecked arrays: {sorted(expected)}"


def train_steps(model: nn.Module, meta: dict, x: Tensor, labels: Tensor, loss_fn, optimizer) -> list[float]:
    """Losses of five steps on one batch from the seeded weights."""
    reseed(model, meta)
    model.train()
    stepper, losses = optimizer(model), []
    for _ in range(5):
        stepper.zero_grad()
        loss = loss_fn(model(x), labels)
        losses.append(loss.item())
        loss.backward()
        stepper.step()
    return losses
