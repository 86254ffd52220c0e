"""The SMA modules equal the authors' and AZO survives the settings where theirs fails."""

import pytest
import torch

from sma.models.attention import SMA, SMA_L, ReLUBranch, SpikingBranch
from tests.parity.harness import close, fixtures, load
from tests.parity.seeded import load_seeded_weights, seeded_input

KINDS = {"sma_module_lite": SMA_L}


def build(meta):
    k = meta["kwargs"]
    kind = KINDS.get(meta["model"], SMA)
    ratios = {} if kind is SMA_L else {"RCR": k["channel_replacement_ratio"], "RTR": k["time_replacement_ratio"]}
    module = kind(
        k["channels"],
        k["time_steps"],
        k["kernels"],
        k["channel_reduction"],
        k["time_reduction"],
        AZO=k["azo"],
        azo_version="loop" if k["azo_version"] == "loop" else "parallel",
        branch=ReLUBranch if k["neuron"] == "relu" else SpikingBranch,
        **ratios,
    )
    return load_seeded_weights(module.double())


@pytest.mark.parametrize("file", fixtures("sma", "module_sma_*"))
def test_module_equals_the_original(file):
    meta, expected = load(file)
    module = build(meta)
    assert [[key, list(value.shape)] for key, value in module.state_dict().items()] == meta["state_dict"]
    drawn = seeded_input(meta["input"]["kind"], meta["input"]["shape"], meta["input"]["seed"])
    x = torch.from_numpy(meta["input"]["scale"] * drawn).requires_grad_()
    module.train("grad_input" in expected)  # the eval fixture holds no gradient: the original has none there
    output = module(x)
    close(output, expected["out"], "out")
    running = [value.norm() for key, value in module.state_dict().items() if "running" in key]
    close(torch.stack(running), expected["running"], "running")
    if "grad_input" not in expected:
        return
    probe = torch.from_numpy(seeded_input("image", output.shape, seed=100))
    (output * probe).sum().backward()
    close(x.grad, expected["grad_input"], "grad_input")
    norms = torch.stack([p.grad.norm() for p in module.parameters()])
    close(norms, expected["grad_norms"], "grad_norms", rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("kind", [SMA, SMA_L])
@pytest.mark.parametrize("time", [1, 3])
def test_azo_with_no_step_to_replace_is_a_no_op(kind, time):
    torch.manual_seed(0)
    x = torch.randn(time, 2, 8, 4, 4)
    with_azo, without = kind(8, time, AZO=True, RTR=4), kind(8, time)
    without.load_state_dict(with_azo.state_dict())
    assert torch.equal(with_azo(x), without(x))


def test_azo_of_one_step_runs():
    torch.manual_seed(0)
    module = SMA(8, 4, AZO=True, RTR=4)
    assert module.replaced_steps == 1
    assert module(torch.randn(4, 2, 8, 4, 4)).isfinite().all()


def zoneout(version, steps, channels, attended):
    module = SMA(attended.shape[2], attended.shape[0], AZO=True, azo_version=version)
    module.least_attended = lambda wt, wc: (torch.tensor(steps), torch.tensor(channels))
    return module.zoneout(attended, None, None)


def test_azo_parallel_copies_the_value_before_any_replacement():
    attended = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 1, 2, 1, 1)
    replaced = zoneout("parallel", [2, 3, 0], [1], attended)
    assert replaced[:, 0, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert replaced[:, 0, 1, 0, 0].tolist() == [0, 1, 1, 2]


def test_azo_loop_chains_through_replaced_values():
    attended = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 1, 2, 1, 1)
    replaced = zoneout("loop", [2, 3, 0], [1], attended)
    assert replaced[:, 0, 1, 0, 0].tolist() == [0, 1, 1, 1]


def test_unknown_azo_version_is_refused():
    with pytest.raises(ValueError, match="azo_version must be"):
        SMA(8, 4, azo_version="diagonal")
