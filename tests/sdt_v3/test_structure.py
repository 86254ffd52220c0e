"""Every published network has the authors' keys, shapes and number of parameters, under every name it goes by."""

import pytest
import timm
import torch

import sdt_v3  # noqa: F401  (registers the models)
from sdt_v3.models.aliases import ALIASES
from tests.parity.harness import check_structure, fixtures, load


def create_on_meta(name, **kwargs):
    with torch.device("meta"):
        return timm.create_model(name, **kwargs)


@pytest.mark.parametrize("file", fixtures("sdt_v3", "structure_*"))
def test_network_has_the_keys_of_the_original(file):
    meta, _ = load(file)
    check_structure(create_on_meta(meta["create"]["model"], **meta["create"]["kwargs"]), meta)


@pytest.mark.parametrize("name", ALIASES)
def test_the_authors_name_builds_the_same_network(name):
    ours, theirs = (
        [(key, value.shape) for key, value in create_on_meta(spelling).state_dict().items()]
        for spelling in (ALIASES[name].__name__, name)
    )
    assert ours == theirs


def test_the_stem_of_the_173m_network_can_have_the_width_of_its_pretraining():
    pretrained = create_on_meta("sdt_v3_mae_173m").state_dict()
    finetuned = create_on_meta("sdt_v3_173m", embed_dim=(192, 384, 768)).state_dict()
    shared = {key for key in finetuned if key.startswith(("downsample", "ConvBlock", "block3.")) and "scale" not in key}
    assert all(pretrained[key].shape == finetuned[key].shape for key in shared)
