"""What the event networks promise beside parity: sizes, early errors, and the switches."""

import pytest
import timm
import torch

import ma_snn  # noqa: F401  (registers the models)
from common.errors import UserError
from common.neurons import LIAFNode, ThresholdResetLIFNode
from ma_snn.models.attention import ATTENTIONS
from ma_snn.models.event_networks import DEPTHS

PARAMETERS = {
    "ma_snn_dvsgestures": (2324065, 2331265, 2333281, 2324119, 2340481, 2331319, 2333335, 2340535),
    "ma_snn_cifar10dvs": (2097918, 2100718, 2185214, 2098008, 2188014, 2100808, 2185304, 2188104),
    "ma_snn_dvsgait": (2100767, 2101215, 2188063, 2100857, 2188511, 2101305, 2188153, 2188601),
}
"""The original's counts with its default settings, in the order of `ATTENTIONS`."""


def small(**kwargs):
    torch.manual_seed(0)
    return timm.create_model("ma_snn_dvsgestures", **{"T": 5, "width": 0.25, "img_size": 8} | kwargs)


def frames(T=5, side=8, batch=2):
    return torch.randint(0, 3, (batch, T, 2, side, side), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count_is_that_of_the_original(name, attention):
    with torch.device("meta"):
        model = timm.create_model(name, attention=attention)
    expected = PARAMETERS[name][ATTENTIONS.index(attention)]
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("neuron", ["lif", "liaf"])
def test_every_parameter_has_a_gradient(attention, neuron):
    model = small(attention=attention, neuron=neuron, v_threshold=0.03)
    model(frames()).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_lif_output_is_a_firing_rate():
    rates = 5 * small()(frames()).detach()
    torch.testing.assert_close(rates, rates.round())


def test_liaf_network_has_liaf_neurons():
    kinds = {type(module) for module in small(neuron="liaf").modules() if isinstance(module, ThresholdResetLIFNode)}
    assert kinds == {LIAFNode}


def test_without_activation_liaf_output_may_be_negative():
    assert small(neuron="liaf", mem_act="none")(frames()).min() < 0


@pytest.mark.parametrize("attention", ["no", "CA", "SA", "CSA"])
def test_without_time_attention_any_number_of_steps_is_taken(attention):
    assert small(attention=attention)(frames(T=7)).shape == (2, 11)


@pytest.mark.parametrize("attention", ["TA", "TCA", "TSA", "TCSA"])
def test_with_time_attention_another_number_of_steps_is_refused(attention):
    with pytest.raises(ValueError, match=r"expected frames \[B, T=5, 2, 8, 8\], got \[2, 7, 2, 8, 8\]"):
        small(attention=attention)(frames(T=7))


def test_frames_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"expected frames .* got \[2, 5, 2, 12, 12\]"):
        small()(frames(side=12))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"attention": "TCS"}, "attention 'TCS' is unknown; choose one of no, TA"),
        ({"neuron": "LIAF"}, "neuron 'LIAF' is unknown; choose lif"),
        ({"neuron": "liaf", "mem_act": "tanh"}, "mem_act 'tanh' is unknown; choose one of relu, none"),
        ({"attention": "TA", "T": 4}, "T = 4 with t_ratio = 5 leaves the attention without hidden units"),
        ({"attention": "TA", "t_ratio": 0}, "T = 5 with t_ratio = 0"),
        ({"T": 0}, "expected T >= 1"),
        ({"img_size": 10}, "multiple of 4, got 5 and 10"),
        ({"init_method": "zeros"}, "init_method 'zeros' is unknown; choose one of xavier, kaiming"),
    ],
)
def test_impossible_settings_are_refused_at_once(wrong, message):
    with pytest.raises(UserError, match=message):
        small(**wrong)


@pytest.mark.parametrize("method", ["xavier", "kaiming"])
def test_init_method_reaches_the_convolutions_alone(method):
    plain, drawn = small(), small(init_method=method)
    changed = {key for key, value in drawn.state_dict().items() if not torch.equal(value, plain.state_dict()[key])}
    assert changed == {f"convAttLIF{i}.conv2d.{kind}" for i in range(3) for kind in ("weight", "bias")}


def test_autocast_gives_nearly_the_same_graded_output():
    model = small(attention="TCSA", neuron="liaf").eval()
    with torch.no_grad():
        expected = model(frames())
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(model(frames()).float(), expected, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("stem, convolutions", [("conv7", 1), ("conv3x3", 3)])
def test_att_ms_resnet_has_either_stem(stem, convolutions):
    model = timm.create_model("att_ms_resnet18", stem=stem, width=16, num_classes=2)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in model.conv1) == convolutions


def test_the_residual_branch_of_att_ms_resnet_is_never_negative():
    torch.manual_seed(0)
    model = timm.create_model("att_ms_resnet18", T=2, width=16, num_classes=2)
    lowest = []
    for stage in model.stages:
        branch = model.get_submodule(f"{stage}.0.residual_function")
        branch.register_forward_hook(lambda module, inputs, output: lowest.append(output.min().item()))
    model(torch.randn(2, 3, 64, 64))
    assert len(lowest) == 4 and min(lowest) >= 0


@pytest.mark.parametrize(("name", "layers", "size"), [("dvsgait", 3, 32), ("dvsgestures", 5, 128)])
def test_each_data_set_takes_the_network_of_the_other_depth(name, layers, size):
    with torch.device("meta"):
        model = timm.create_model(f"ma_snn_{name}", stages=DEPTHS[layers], img_size=size, T=20, attention="TCSA")
    assert sum(key.startswith("convAttLIF") for key, _ in model.named_children()) == layers
    assert model.layout.size == (size, size)
