"""The masked autoencoder computes what the authors' code computed, for a given mask."""

import numpy as np
import pytest
import timm
import torch

import sdt_v3  # noqa: F401  (registers the models)
from sdt_v3.models.mae import MaskedAutoencoder, position_table
from tests.parity.harness import check_arrays, close, fixtures, load, seeded_data, seeded_model

FILE = fixtures("sdt_v3", "sdt_v3_mae_*")[0].values[0]
INNER = ("active", "ids_restore", "latent_norm", "latent_head", "rec_head")


def noise_of(meta):
    patches = (meta["input"]["shape"][0], 196)
    return torch.from_numpy(np.random.RandomState(meta["mask"]["noise_seed"]).random_sample(patches))


def load_fixture():
    meta, expected = load(FILE)
    meta |= {"classes": 1, "labels_seed": 0}  # the autoencoder has no labels, the harness draws some
    meta["neurons"] = [name.replace("lif", "spike") for name in meta["neurons"]]
    return meta, {name.replace("eval_cal", "eval_calibrated"): array for name, array in expected.items()}


def test_autoencoder_equals_the_original(monkeypatch):
    meta, expected = load_fixture()
    forward, noise = MaskedAutoencoder.forward, noise_of(meta)
    monkeypatch.setattr(MaskedAutoencoder, "forward", lambda model, images: forward(model, images, noise)[0])
    outer = {name: array for name, array in expected.items() if name not in INNER}
    optimizer = lambda model: torch.optim.AdamW(  # noqa: E731
        model.parameters(), lr=meta["optimizer"]["lr"], betas=(0.9, 0.95), eps=1e-4, weight_decay=0.05
    )
    check_arrays(meta, outer, lambda x: x, lambda loss, labels: loss, optimizer)


@torch.no_grad()
def test_inner_results_equal_the_original():
    meta, expected = load_fixture()
    model, (images, _), noise = seeded_model(meta).train(), seeded_data(meta), noise_of(meta)
    ranks, visible = model.rank_patches(noise)
    latent = model.encode(images, visible)
    close(visible, expected["active"], "active")
    close(ranks, expected["ids_restore"], "ids_restore")
    close(latent.norm(dim=(1, 2)), expected["latent_norm"], "latent_norm")
    close(latent[:, :4], expected["latent_head"], "latent_head")
    close(model.decode(latent, ranks)[0, :4, :16], expected["rec_head"], "rec_head")


def tiny(**kwargs):
    torch.manual_seed(0)
    sizes = {"embed_dim": (8, 16, 32), "depth": 1, "num_heads": 2, "decoder_embed_dim": 16, "decoder_depth": 1}
    return timm.create_model("sdt_v3_mae_83m", img_size=64, decoder_num_heads=2, **sizes, **kwargs)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_mask_hides_its_share_of_the_patches(ratio):
    _, prediction, mask = tiny(mask_ratio=ratio)(torch.randn(3, 3, 64, 64))
    assert mask.sum(1).tolist() == [16 * ratio] * 3
    assert prediction.shape == (3, 16, 16 * 16 * 3)


def test_the_same_noise_gives_the_same_mask():
    model, noise = tiny(), torch.rand(2, 16)
    assert torch.equal(model(torch.randn(2, 3, 64, 64), noise)[2], model(torch.randn(2, 3, 64, 64), noise)[2])


@torch.no_grad()
def test_hidden_pixels_never_reach_the_encoder():
    model, images, noise = tiny().eval(), torch.randn(2, 3, 64, 64), torch.rand(2, 16)
    _, visible = model.rank_patches(noise)
    hidden = ~visible.view(2, 1, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    disturbed = torch.where(hidden, torch.randn_like(images), images)
    assert torch.equal(model.encode(images, visible), model.encode(disturbed, visible))


@torch.no_grad()
def test_fixed_token_order_undoes_the_published_permutation():
    model, tokens = tiny().eval(), torch.randn(1, 16, 32)
    ranks = torch.rand(1, 16).argsort(1)
    permuted = tokens.gather(1, ranks[:, :, None].expand_as(tokens))
    published = model.decode(tokens, ranks)
    model.fix_token_order = True
    assert torch.allclose(model.decode(permuted, ranks), published)


def test_pixel_targets_are_the_pixels_of_each_patch():
    images = torch.arange(2 * 3 * 64 * 64).float().view(2, 3, 64, 64)
    targets = tiny(norm_pix_loss=False).targets(images)
    assert torch.equal(targets[1, 5].view(16, 16, 3), images[1, :, 16:32, 16:32].permute(1, 2, 0))


def test_position_table_codes_the_column_first():
    table = position_table(8, 3).view(3, 3, 2, 4)
    assert torch.equal(table[0, :, 0], table[2, :, 0])
    assert torch.equal(table[:, 0, 1], table[:, 2, 1])
    close(table[0, 2, 0], np.concatenate([np.sin([2, 0.02]), np.cos([2, 0.02])]), rtol=1e-6)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match="expected images \\[B, C, 64, 64\\]"):
        tiny()(torch.randn(1, 3, 224, 224))
