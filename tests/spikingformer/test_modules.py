"""The modules equal the authors', and what they add to them changes no number."""

import numpy as np
import pytest
import torch

from spikingformer.models import cml_spikformer
from spikingformer.models.spikingformer import MLP, STEMS, SelfAttention, Tokenizer
from spikingformer.models.transformer import Block
from tests.parity.harness import Rates, close, fixtures, load
from tests.parity.seeded import load_seeded_weights

BUILDERS = {
    "spiking_self_attention": lambda k: SelfAttention(k["dim"], k["num_heads"], k["tau"]),
    "spiking_mlp": lambda k: MLP(k["in_features"], k["hidden_features"], k["tau"]),
    "spiking_transformer_block": lambda k: Block(
        k["dim"], SelfAttention(k["dim"], k["num_heads"], k["tau"]), MLP(k["dim"], 4 * k["dim"], k["tau"])
    ),
    "tokenizer": lambda k: Tokenizer(STEMS[k["stem"], k["downsampling"]], 3, k["embed_dim"]),
    "spikformer_sps": lambda k: cml_spikformer.Tokenizer((2, 3), 3, k["embed_dim"], k["tau"]),
    "spikformer_ssa": lambda k: cml_spikformer.SelfAttention(k["dim"], k["num_heads"], k["tau"]),
}


def seeded_module(meta):
    module = BUILDERS[meta["model"].removeprefix("module:")](meta["kwargs"]).double()
    return reseed(module, meta)


@torch.no_grad()
def reseed(module, meta):
    load_seeded_weights(module)
    for name in "qkv":
        for key, value in module.state_dict().items():
            if key.endswith(f"{name}_bn.bias"):
                value.add_(meta["qkv_bn_bias_shift"])
    return module


def drawn_input(meta):
    drawn = np.random.RandomState(meta["input"]["seed"]).standard_normal(meta["input"]["shape"])
    drawn = drawn * meta["input"]["scale"] + meta["input"]["shift"]
    return torch.from_numpy((drawn > 0.5).astype(float) if "0/1" in meta["input"]["kind"] else drawn)


def run(module, x):
    return module(x, x.shape[0]) if isinstance(module, Tokenizer | cml_spikformer.Tokenizer) else module(x)


def close_to_summary(actual, expected, name):
    """Compare with a stored array, or with its first values and two sums where it was too large to store."""
    if name in expected:
        close(actual, expected[name], name)
        return
    flat = actual.detach().flatten()
    close(flat[:2000], expected[f"{name}_head"], name)
    close(
        torch.stack([flat.abs().sum(), flat.norm()]), [expected[f"{name}_{sum_}"] for sum_ in ("sum_abs", "l2")], name
    )


@pytest.mark.parametrize("file", fixtures("spikingformer", "module_[!l]*"))
def test_module_equals_the_original(file):
    meta, expected = load(file)
    module = seeded_module(meta)
    assert [[key, list(value.shape)] for key, value in module.state_dict().items()] == meta["state_dict"]
    x = drawn_input(meta).requires_grad_()
    with Rates(module, meta["neurons"]) as rates:
        output = run(module.train(), x)
    close_to_summary(output, expected, "y_train")
    close(rates.array(), expected["rates_train"], "rates_train")
    state = module.state_dict()
    close(torch.stack([state[name].norm() for name in meta["running"]]), expected["running"], "running")
    probe = np.random.RandomState(meta["input"]["seed"] + 1).standard_normal(output.shape)
    output.backward(torch.from_numpy(probe))
    close_to_summary(x.grad, expected, "grad_x")
    norms = [p.grad.norm() if p.grad is not None else torch.zeros(()) for p in module.parameters()]
    close(torch.stack(norms), expected["grad_norms"].nan_to_num(0.0), "grad_norms", rtol=1e-7, atol=1e-8)
    reseed(module, meta)
    close_to_summary(run(module.eval(), x), expected, "y_eval")


@pytest.mark.parametrize("downsampling", ["spikingformer", "cml"])
@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_stem_computed_once_equals_the_stem_of_every_step(stem, downsampling):
    torch.manual_seed(0)
    T, image = 4, torch.randn(3, 3, 32, 32, dtype=torch.float64)
    once, every = (Tokenizer(STEMS[stem, downsampling], 3, 64).double() for _ in range(2))
    every.load_state_dict(once.state_dict())
    outputs = [once(image, T), every(image.expand(T, *image.shape), T)]
    close(outputs[0], outputs[1], "output")
    for output in outputs:
        output.square().sum().backward()
    for (name, p), q in zip(once.named_parameters(), every.parameters(), strict=True):
        close(p.grad, q.grad, name, atol=1e-9)
    for (name, p), q in zip(once.named_buffers(), every.buffers(), strict=True):
        close(p, q, name)
