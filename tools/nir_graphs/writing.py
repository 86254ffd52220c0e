"""From a network to an NIR graph: its operations as `torch.export` traces them, one NIR node for each."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import nir
import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from common.errors import UserError
from common.files import atomic_path
from common.kernels import LIFParameters
from common.kernels.operators import neuron as neuron_operator
from common.layers import fold_for_inference
from common.neurons import NEURONS
from tools.programs import export_program

DT = 1.0
METADATA = {"discretisation": "forward Euler, state 0 before the first step", "dt": DT}
aten = torch.ops.aten


def save_nir(model: nn.Module, x: Tensor, path: str | Path) -> None:
    """Write `to_nir(model, x)` to `path`, an HDF5 file.

    Raises:
        UserError: see `to_nir`; or the folder cannot be written.
    """
    graph = to_nir(model, x)
    with atomic_path(path) as temporary:
        nir.write(temporary, graph)


def to_nir(model: nn.Module, x: Tensor) -> nir.NIRGraph:
    """The graph of one time step of `model` in evaluation mode.

    Args:
        model: a network in which NIR can express everything.
        x: an example of its input, of any number of samples.

    Raises:
        UserError: NIR lacks something; the message names the module.
    """
    folded = fold_for_inference(model)
    neurons = {
        path: module for path, module in folded.named_modules(remove_duplicate=False) if isinstance(module, NEURONS)
    }
    for path in neurons:
        folded.set_submodule(path, _Trace())
    return _Builder(export_program(folded, x, None), neurons).build()


class _Trace(nn.Module):
    """Stands for a neuron: leaves one operator in the trace, whatever backend this machine has."""

    def forward(self, x: Tensor) -> Tensor:
        return neuron_operator(x, 0, 0, [], None)


@dataclass(frozen=True)
class _Value:
    """What an operation gives: the NIR node that computes it and its shape at one step."""

    node: str
    shape: tuple[int, ...]
    averaged: bool = False
    """The mean over time was taken, which the graph leaves to its reader."""


class _Builder:
    """Goes through the operations of a traced network and adds the NIR nodes that compute the same."""

    def __init__(self, program: ExportedProgram, neurons: dict[str, nn.Module]):
        self.program, self.neurons = program, neurons
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.values: dict[fx.Node, _Value] = {}

    def build(self) -> nir.NIRGraph:
        for node in self.program.graph.nodes:
            if node.op == "placeholder" and node.name in self.program.graph_signature.user_inputs:
                self.values[node] = self.source(node)
            elif node.op == "output":
                return self.graph(self.values[node.args[0][0]])
            elif node.op == "call_function" and node.target is not aten._assert_tensor_metadata.default:
                handle = HANDLERS.get(node.target) or self.refuse(node, "")
                self.values[node] = handle(self, node, _arguments(node))

    def source(self, node: fx.Node) -> _Value:
        shape = tuple(node.meta["val"].shape[-3:])
        self.nodes["input"] = nir.Input({"input": np.array(shape)})
        return _Value("input", shape)

    def graph(self, output: _Value) -> nir.NIRGraph:
        self.nodes["output"] = nir.Output({"output": np.array(output.shape)})
        self.edges.append((output.node, "output"))
        readout = "mean over time of the output" if output.averaged else "output of every step"
        return nir.NIRGraph(self.nodes, self.edges, metadata={**METADATA, "readout": readout})

    def add(self, node: fx.Node, made: nir.NIRNode, shape: tuple[int, ...], *inputs: _Value) -> _Value:
        """Put `made` into the graph, named after the module that `node` belongs to."""
        base = _module(node)[0].replace(".", "_") or node.name
        names = (base if number == 1 else f"{base}_call{number}" for number in range(1, len(self.nodes) + 2))
        name = next(name for name in names if name not in (*self.nodes, "output"))
        self.nodes[name] = made
        self.edges += [(value.node, name) for value in inputs]
        return _Value(name, shape, any(value.averaged for value in inputs))

    def parameter(self, node: fx.Node) -> np.ndarray:
        name = self.program.graph_signature.inputs_to_parameters[node.name]
        return self.program.state_dict[name].detach().cpu().numpy()

    def bias(self, node: fx.Node | None, channels: int) -> np.ndarray:
        return np.zeros(channels, np.float32) if node is None else self.parameter(node)

    def refuse(self, node: fx.Node, reason: str) -> NoReturn:
        path, kind = _module(node)
        operation = str(node.target).removeprefix("aten.").partition(".")[0]
        raise UserError(
            f"NIR cannot express {operation} in {path or 'the network'} ({kind}){reason and ': '}{reason}; export a "
            "network of convolutions, LIF neurons and pools only, without attention"
        )

    # One method per operation: (the operation, its arguments by name) -> what it gives.

    def keep(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        """Operations that leave each step as it is, and the flattening of its features."""
        (x,) = (self.values[one] for one in node.all_input_nodes)
        out = tuple(node.meta["val"].shape)
        if out[-len(x.shape) :] == x.shape:
            return _Value(x.node, x.shape, x.averaged)
        if out[-1] != prod(x.shape):
            self.refuse(node, f"it makes {list(out)} of steps of {list(x.shape)}")
        return self.add(node, nir.Flatten({"input": np.array(x.shape)}, start_dim=0), out[-1:], x)

    def transpose(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        x = self.values[a["self"]]
        dims, axes = a["self"].meta["val"].ndim, (a["dim0"], a["dim1"])
        if any(axis % dims >= dims - len(x.shape) for axis in axes):
            self.refuse(node, "it exchanges axes of space or channels")
        return x

    def convolution(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        x, weight = self.values[a["input"]], self.parameter(a["weight"])
        sizes = {name: pair(a[name]) for name in ("stride", "padding", "dilation")}
        bias = self.bias(a["bias"], len(weight))
        made = nir.Conv2d(input_shape=x.shape[1:], weight=weight, bias=bias, groups=a["groups"], **sizes)
        return self.add(node, made, tuple(node.meta["val"].shape[-3:]), x)

    def linear(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        weight = self.parameter(a["weight"])
        made = nir.Affine(weight=weight, bias=self.bias(a["bias"], len(weight)))
        return self.add(node, made, (len(weight),), self.values[a["input"]])

    def sum(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        x, y = self.values.get(a["self"]), self.values.get(a["other"])
        if not x or not y or (x.shape, x.averaged) != (y.shape, y.averaged) or a["alpha"] != 1:
            self.refuse(node, "it adds something else than two layers of one shape")
        return self.add(node, nir.Scale(np.ones(x.shape, np.float32)), x.shape, x, y)

    def average_pool(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        kernel, padding = pair(a["kernel_size"]), pair(a["padding"])
        if any(padding) or a["ceil_mode"] or a["divisor_override"]:
            self.refuse(node, "average pooling with padding or incomplete windows")
        made = nir.AvgPool2d(np.array(kernel), np.array(pair(a["stride"] or kernel)), np.array(padding))
        return self.add(node, made, tuple(node.meta["val"].shape[-3:]), self.values[a["self"]])

    def adaptive_pool(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        x, size = self.values[a["self"]], pair(a["output_size"])
        windows = [_windows(side, parts) for side, parts in zip(x.shape[1:], size, strict=True)]
        if None in windows:
            self.refuse(node, f"{list(x.shape[1:])} places in {list(size)} unequal windows; choose another image size")
        kernel, stride = (np.array(column) for column in zip(*windows, strict=True))
        return self.add(node, nir.AvgPool2d(kernel, stride, np.zeros(2, int)), (x.shape[0], *size), x)

    def max_pool(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        x, kernel = self.values[a["self"]], pair(a["kernel_size"])
        if not isinstance(self.nodes[x.node], nir.LIF) or x.averaged or pair(a["dilation"]) != (1, 1) or a["ceil_mode"]:
            self.refuse(node, "the maximum of something else than spikes")
        shape = tuple(node.meta["val"].shape[-3:])
        sizes = (np.array(kernel), np.array(pair(a["stride"] or kernel)), np.array(pair(a["padding"])))
        summed = self.add(node, nir.SumPool2d(*sizes), shape, x)
        return self.add(node, nir.Threshold(np.full(shape, 0.5, np.float32)), shape, summed)

    def mean(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        x, dims = self.values[a["self"]], a["self"].meta["val"].ndim
        axes = sorted(axis % dims for axis in a["dim"])
        if all(axis < dims - len(x.shape) for axis in axes):
            return _Value(x.node, x.shape, averaged=True)
        if len(x.shape) != 3 or axes != [dims - 2, dims - 1] or a["keepdim"]:
            self.refuse(node, "a mean over other axes than those of space or time")
        pooled = self.add(node, nir.AvgPool2d(*[np.array(x.shape[1:])] * 2, np.zeros(2, int)), (x.shape[0], 1, 1), x)
        return self.add(node, nir.Flatten({"input": np.array(pooled.shape)}, start_dim=0), (x.shape[0],), pooled)

    def neuron(self, node: fx.Node, a: dict[str, Any]) -> _Value:
        x, module = self.values[a["x"]], self.neurons[_module(node)[0]]
        p = module.constants
        if reason := "it follows the mean over time" if x.averaged else _inexpressible(p):
            raise UserError(f"NIR has no neuron like {_module(node)[0]} ({module}): {reason}")
        return self.add(node, lif_node(p, x.shape), x.shape, x)


HANDLERS: dict[Callable, Callable[[_Builder, fx.Node, dict[str, Any]], _Value]] = {
    **dict.fromkeys(
        (
            aten.flatten.using_ints, aten.unflatten.int, aten.unsqueeze.default, aten.expand.default,
            aten.to.dtype, aten.dropout.default, aten.contiguous.default, aten.clone.default,
        ),
        _Builder.keep,
    ),
    aten.transpose.int: _Builder.transpose,
    aten.conv2d.default: _Builder.convolution,
    aten.linear.default: _Builder.linear,
    aten.add.Tensor: _Builder.sum,
    aten.avg_pool2d.default: _Builder.average_pool,
    aten.adaptive_avg_pool2d.default: _Builder.adaptive_pool,
    aten.max_pool2d.default: _Builder.max_pool,
    aten.mean.dim: _Builder.mean,
    torch.ops.spiking_papers.neuron.default: _Builder.neuron,
}  # fmt: skip


def _module(node: fx.Node) -> tuple[str, str]:
    """Path and class name of the module that an operation belongs to."""
    path, kind = list(node.meta["nn_module_stack"].values())[-1]
    return path, str(kind).rpartition(".")[2].rstrip("'>")


def _arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of an operation by name, defaults included."""
    schema = node.target._schema.arguments
    defaults = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    return {**defaults, **dict(zip((argument.name for argument in schema), node.args, strict=False)), **node.kwargs}


def pair(value: int | list[int]) -> tuple[int, int]:
    """(3, 3) of 3, [3] or [3, 3]; an empty list stays empty."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * 2 if len(values) == 1 else values


def _windows(side: int, parts: int) -> tuple[int, int] | None:
    """(kernel, stride) of adaptive pooling from `side` to `parts` places, None if its windows differ."""
    starts = [part * side // parts for part in range(parts)]
    sizes = {-(-(part + 1) * side // parts) - start for part, start in enumerate(starts)}
    strides = {after - before for before, after in pairwise(starts)} or {1}
    return (*sizes, *strides) if len(sizes) == len(strides) == 1 and strides != {0} else None


def _inexpressible(p: LIFParameters) -> str:
    """Why NIR's LIF is not this neuron; empty if it is."""
    if not isinstance(p, LIFParameters):
        return "its spikes are integers"
    problems = {
        "its output is not spikes": p.output != "spike",
        "its reset subtracts the threshold": p.reset == "soft",
        "beta, which is left out at the first step": p.beta != 0,
        "its membrane does not leak": p.charge == "decay" and p.decay >= 1,
    }
    return next((problem for problem, present in problems.items() if present), "")


def lif_node(p: LIFParameters, shape: tuple[int, ...]) -> nir.LIF:
    """NIR's neurons of one step of `shape`, see the table of `tools.nir_graphs`."""
    tau, r = (p.tau, 1.0) if p.charge == "leaky" else (1 / (1 - p.decay), 1 / (1 - p.decay))
    threshold = np.float32(p.threshold)
    level = threshold if p.strict else np.nextafter(threshold, np.float32(-np.inf))
    values = {
        "tau": tau * DT,
        "r": r,
        "v_leak": 0.0,
        "v_threshold": level,
        "v_reset": threshold if p.reset == "threshold" else 0.0,
    }
    fires = f"v {'>' if p.strict else '>='} {p.threshold:g}"
    return nir.LIF(
        **{key: np.full(shape, value, np.float64) for key, value in values.items()}, metadata={"dt": DT, "fires": fires}
    )
