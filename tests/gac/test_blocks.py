"""Residual blocks and the gate compute what the authors' code computed, with our time axis in front."""

from dataclasses import replace

import pytest
import torch

from common.ms_resnet import PUBLISHED, basic_block
from gac.models.cifar import CIFARBlock
from gac.models.gau import GAC
from tests.parity.harness import close, fixtures, load
from tests.parity.seeded import load_seeded_weights


def time_first(x, meta):
    return x.transpose(0, 1) if "[B,T" in meta["layout"] else x


def check_gradients(module, meta, expected, output, **inputs):
    (output * time_first(expected["ct"], meta)).sum().backward()
    for name, x in inputs.items():
        close(x.grad, time_first(expected[f"grad_{name}"], meta), f"grad_{name}")
    norms = torch.stack([p.grad.norm() for p in module.parameters()])
    close(norms, expected["grad_norms"], "grad_norms", rtol=1e-7, atol=1e-8)


def build_block(meta):
    if "inplanes" in meta["kwargs"]:
        return CIFARBlock(meta["kwargs"]["inplanes"], meta["kwargs"]["planes"], meta["kwargs"]["stride"])
    k = meta["kwargs"]
    design = PUBLISHED[104 if "ms104" in meta["model"] else 18]
    if "gac18" in meta["model"]:
        design = replace(design, keys="flat")
    return basic_block(design, k["in_channels"], k["out_channels"], k["stride"], index=0)


@pytest.mark.parametrize("file", fixtures("gac", "mod_block_*"))
def test_block_equals_the_original(file):
    meta, expected = load(file)
    block = load_seeded_weights(build_block(meta).double())
    assert [[key, list(value.shape)] for key, value in block.state_dict().items()] == meta["state_dict"]
    x = time_first(expected["x"], meta).requires_grad_()
    with torch.no_grad():
        close(block.eval()(x), time_first(expected["out_eval"], meta), "out_eval")
    output = block.train()(x)
    close(output, time_first(expected["out_train"], meta), "out_train")
    state = block.state_dict()
    close(torch.stack([state[name].norm() for name in meta["running"]]), expected["running"], "running")
    check_gradients(block, meta, expected, output, x=x)


@pytest.mark.parametrize("file", fixtures("gac", "mod_gac_*"))
def test_gate_equals_the_original(file):
    meta, expected = load(file)
    k = meta["kwargs"]
    gate = load_seeded_weights(GAC(k["T"], k["channels"], k["kernel"]).double())
    assert [[key, list(value.shape)] for key, value in gate.state_dict().items()] == meta["state_dict"]
    x, spikes = (time_first(expected[name], meta).clone().requires_grad_() for name in ("x", "spikes"))
    output = gate(x, spikes)
    close(output, time_first(expected["out"], meta), "out")
    check_gradients(gate, meta, expected, output, x=x, spikes=spikes)
    for name, attention in (("ta", gate.TA), ("sca", gate.SCA)):
        if name in expected:
            close(attention(x), time_first(expected[name], meta), name)
