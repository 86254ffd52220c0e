"""What the networks promise beside computing the authors' numbers."""

import json

import pytest
import timm
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import spikingformer  # noqa: F401  (registers the models)
from tests.parity.harness import FOLDER

COUNTS = json.loads((FOLDER / "spikingformer" / "parameter_counts.json").read_text())
FAMILIES = {
    "sf_imagenet": "spikingformer",
    "cml_imagenet": "cml_spikingformer",
    "sf_cifar10": "spikingformer_cifar",
    "cml_cifar10": "cml_spikingformer_cifar",
    "cml_spikformer": "cml_spikformer_cifar",
    "sf_cifar10dvs": "spikingformer_dvs",
    "sf_gesture": "spikingformer_dvs",
    "cml_cifar10dvs": "cml_spikingformer_dvs",
    "cml_gesture": "cml_spikingformer_dvs",
}


def create(case):
    """The network that `parameter_counts.json` calls `case`, on no device: `<family> <depth>-<width> [C<classes>]`."""
    family, size, *classes = case.split()
    kwargs = {"num_classes": int(classes[0][1:])} if classes else {"num_classes": 11} if "gesture" in family else {}
    with torch.device("meta"):
        return timm.create_model(f"{FAMILIES[family]}_{size.replace('-', '_')}", **kwargs)


def tiny(name="spikingformer_cifar_4_384", **kwargs):
    return timm.create_model(name, embed_dim=32, depth=2, num_heads=2, img_size=16, num_classes=5, **kwargs)


@pytest.mark.parametrize("case", COUNTS)
def test_published_parameter_count(case):
    model, expected = create(case), COUNTS[case]
    unused = sum(p.numel() for name, p in model.named_parameters() if "norm1" in name or "norm2" in name)
    counted = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "of_which_unused_layernorm": unused,
        "state_dict_entries": len(model.state_dict()),
    }
    assert counted == expected


def test_reconstructed_cml_spikformer_has_the_parameters_of_the_published_log():
    with torch.device("meta"):
        model = timm.create_model("cml_spikformer_8_768")
    assert sum(p.numel() for p in model.parameters()) == 66_363_208


def test_cml_names_are_aliases_of_the_switch():
    alias, switched = tiny("cml_spikingformer_cifar_4_384"), tiny(downsampling="cml")
    assert repr(alias) == repr(switched)


@pytest.mark.parametrize("name", timm.list_models("*spikingformer*") + timm.list_models("cml_spikformer*"))
def test_every_name_builds_and_runs(name):
    channels = 2 if "dvs" in name else 3
    logits = tiny(name, T=2).eval()(torch.randn(2, channels, 16, 16))
    assert logits.shape == (2, 5)


@pytest.mark.parametrize("name", ["cml_spikingformer_8_384", "cml_spikformer_cifar_4_384"])
def test_image_equals_frames_that_repeat_it(name):
    torch.manual_seed(0)
    model = tiny(name, T=3).double()
    image = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(model(image), model(image.unsqueeze(1).expand(2, 3, 3, 16, 16)))


def test_another_image_size_is_refused():
    with pytest.raises(ValueError, match=r"expected images \[B, C, 16, 16\] or frames"):
        tiny()(torch.randn(2, 3, 32, 32))


def test_unknown_downsampling_is_refused():
    with pytest.raises(ValueError, match="downsampling must be"):
        tiny(downsampling="average")


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads must divide the width 32"):
        timm.create_model("spikingformer_cifar_4_384", embed_dim=32, num_heads=12)


def test_drop_path_drops_a_sample_at_every_step_or_at_none():
    torch.manual_seed(0)
    block = tiny(drop_path_rate=0.5).block[-1].train()
    dropped = (block._drop(torch.ones(4, 64, 8)) == 0).all(2)
    assert 0 < dropped[0].sum() < 64
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))


@pytest.fixture
def process_group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def two_steps(model):
    wrapped = DistributedDataParallel(model)
    for _ in range(2):
        wrapped(torch.randn(2, 3, 16, 16)).sum().backward()


def test_unused_layer_norms_do_not_stop_distributed_training(process_group):
    model = tiny()
    two_steps(model)
    assert [name for name, p in model.named_parameters() if p.grad is None] == [
        f"block.{i}.norm{j}.{part}" for i in (0, 1) for j in (1, 2) for part in ("weight", "bias")
    ]


def test_distributed_training_would_stop_without_that_provision(process_group):
    model = tiny()
    model._ddp_params_and_buffers_to_ignore = []
    with pytest.raises(RuntimeError, match="Expected to have finished reduction"):
        two_steps(model)
