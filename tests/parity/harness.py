"""Compares a network with what the original code computed, in float64, from a fixture file.

Everything that a fixture holds is checked: a key that no check covers fails the test.
"""

from collections.abc import Callable
from contextlib import ContextDecorator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

from tests.parity.seeded import load_fixture, load_seeded_weights, seeded_input, seeded_labels

FOLDER = Path(__file__).parent
RTOL, ATOL = 1e-9, 1e-11


def fixtures(paper: str, *patterns: str, slow: tuple[str, ...] = ()) -> list:
    """Parametrisation over the fixture files of a paper whose names match a pattern; `slow` ones are marked so."""
    files = [file for pattern in patterns for file in sorted((FOLDER / paper).glob(f"{pattern}.npz"))]
    assert files, f"no fixture of {paper} matches {patterns}"
    return [pytest.param(file, id=file.stem, marks=[pytest.mark.slow] * (file.stem in slow)) for file in files]


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
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    return model


class WholeBatch(ContextDecorator, TorchFunctionMode):
    """While open, float64 convolutions are one matrix product of the whole batch where the images are small.

    PyTorch has no fast float64 convolution: its own reads all the weights again for every image. Those with a bias
    stay, because its gradient before a norm is rounding alone, which fixtures hold.
    """

    def __torch_function__(self, function, types, arguments=(), settings=None):
        settings = settings or {}
        if function is torch.conv2d:
            return _conv2d(*arguments, **settings)
        return function(*arguments, **settings)


def _conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    kernel = weight.shape[2:]
    if x.ndim != 4 or bias is not None or groups != 1 or isinstance(padding, str) or x.dtype is not torch.float64:
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    height, width = (
        (size + 2 * pad - step * (taps - 1) - 1) // by + 1
        for size, pad, step, taps, by in zip(x.shape[2:], padding, dilation, kernel, stride, strict=True)
    )
    if height * width > 256:
        return F.conv2d(x, weight, bias, stride, padding, dilation)
    columns = F.unfold(x, kernel, dilation, padding, stride).transpose(0, 1).flatten(1)
    return (weight.flatten(1) @ columns).unflatten(1, (len(x), height, width)).transpose(0, 1)


@torch.no_grad()
def reseed(model: nn.Module, meta: dict) -> None:
    """Load the fixture's weights and buffers into `model`, in place."""
    load_seeded_weights(model)
    state = model.state_dict()
    for key, factor in meta.get("weight_scale", {}).items():
        state[key].mul_(factor)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.weight.mul_(meta.get("bn_gain", 1.0))
            module.bias.mul_(meta.get("bn_gain", 1.0))


def seeded_data(meta: dict) -> tuple[Tensor, Tensor]:
    """Input as drawn (before any transposition) and labels."""
    drawn = seeded_input(meta["input"]["kind"], meta["input"]["shape"], meta["input"]["seed"])
    labels = seeded_labels(meta["input"]["shape"][0], meta["classes"], meta["labels_seed"])
    return torch.from_numpy(meta["input"].get("scale", 1.0) * drawn), torch.from_numpy(labels)


class Rates:
    """Mean output of each named neuron, recorded by hooks while open; NAME@1 is the second call of NAME."""

    def __init__(self, model: nn.Module, names: list[str]):
        self.values: dict[str, float] = {}
        modules = dict(model.named_modules())
        self.names = names
        self.hooks = [
            modules[name].register_forward_hook(self._record(name))
            for name in dict.fromkeys(name.partition("@")[0] for name in names)
        ]

    def _record(self, name: str):
        calls = count()

        def hook(module, inputs, output):
            self.values[f"{name}@{next(calls)}"] = output.detach().double().mean().item()

        return hook

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for hook in self.hooks:
            hook.remove()

    def array(self) -> np.ndarray:
        return np.array([self.values[name if "@" in name else f"{name}@0"] for name in self.names])


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
    if "parameters" in meta:
        assert [name for name, _ in model.named_parameters()] == meta["parameters"]
    assert sum(p.numel() for p in model.parameters()) == meta["parameter_count"]


def check_network(
    file: Path,
    prepare: Callable[[Tensor], Tensor],
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
) -> None:
    """`check_arrays` of a fixture file."""
    check_arrays(*load(file), prepare, loss_fn, optimizer)


@WholeBatch()
def check_arrays(
    meta: dict,
    expected: dict[str, Tensor],
    prepare: Callable[[Tensor], Tensor],
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
) -> None:
    """Build a fixture's network and compare structure, eval, calibrated eval, training and the steps, as far as held.

    `expected` is emptied. A network may return several logits in training; the fixture then names the second `_kd`.
    """
    model = seeded_model(meta)
    check_structure(model, meta)
    drawn, labels = seeded_data(meta)
    x = prepare(drawn)

    def compare(mode: str, logits: Tensor | tuple[Tensor, Tensor], rates: Rates) -> None:
        if isinstance(logits, tuple):
            logits, distilled = logits
            close(distilled, expected.pop(f"logits_{mode}_kd"), f"logits_{mode}_kd")
        close(logits, expected.pop(f"logits_{mode}"), f"logits_{mode}")
        close(rates.array(), expected.pop(f"rates_{mode}", rates.array()), f"rates_{mode}")

    model.eval()
    with torch.no_grad(), Rates(model, meta["neurons"]) as rates:
        compare("eval", model(x), rates)

    calibrated = next((mode for mode in ("eval_calibrated", "calibrated") if f"logits_{mode}" in expected), None)
    if calibrated:
        buffers = [buffer.clone() for buffer in model.buffers()]
        calibrate(model, lambda: model(x))
        with torch.no_grad(), Rates(model, meta["neurons"]) as rates:
            compare(calibrated, model(x), rates)
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)

    if "loss" not in expected:
        assert not expected, f"unchecked arrays: {sorted(expected)}"
        return
    model.train()
    with Rates(model, meta["neurons"]) as rates:
        logits = model(x)
    compare("train", logits, rates)
    loss = loss_fn(logits, labels)
    close(loss, expected.pop("loss"), "loss")
    if "grad_norms" in expected:
        loss.backward()
        norms = [p.grad.norm() if p.grad is not None else torch.zeros(()) for p in model.parameters()]
        without_gradient_0 = expected.pop("grad_norms").nan_to_num(0.0)
        close(torch.stack(norms), without_gradient_0, "grad_norms", rtol=1e-7, atol=1e-8)
    state = model.state_dict()
    close(torch.stack([state[name].norm() for name in meta["running"]]), expected.pop("running"), "running")
    if "losses" in expected:
        wanted = expected.pop("losses")
        losses = next_losses(optimizer(model), lambda: loss_fn(model(x), labels), steps=len(wanted) - 1)
        close([loss.item(), *losses], wanted, "losses")
    assert not expected, f"unchecked arrays: {sorted(expected)}"


def next_losses(stepper: torch.optim.Optimizer, loss_of_batch: Callable[[], Tensor], steps: int) -> list[float]:
    """Losses after each of the steps on one batch, the first of them with the gradients that are already there."""
    losses = []
    for _ in range(steps - 1):
        stepper.step()
        stepper.zero_grad()
        loss = loss_of_batch()
        losses.append(loss.item())
        loss.backward()
    stepper.step()
    with torch.no_grad():
        return [*losses, loss_of_batch().item()]
