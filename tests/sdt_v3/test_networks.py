"""The networks compute what the authors' code computed, and what their options promise."""

import pytest
import timm
import torch
from timm.optim import Lamb

import sdt_v3  # noqa: F401  (registers the models)
from common.training.losses import smooth_cross_entropy
from sdt_v3.models.base import Backbone
from sdt_v3.recipe import distillation_loss, mix_losses, parameter_groups
from tests.parity.harness import check_arrays, fixtures, load
from tests.parity.seeded import seeded_input

DVS = fixtures("sdt_v3", "sdt_v3_hardvs_*", "sdt_v3_gesture_*")
LARGE = fixtures("sdt_v3", "sdt_v3_large_*", "sdt_v3_83m_*", slow=("sdt_v3_83m_d4_96px_b1_eval",))
BASE = fixtures("sdt_v3", "sdt_v3_small_*", "sdt_v3_5m_*", "sdt_v3_10m_*")


def load_network(file):
    """A fixture with our names of arrays and neurons, without the neurons that feed nothing and that ours lacks."""
    meta, expected = load(file)
    kwargs = meta["create"]["kwargs"]
    idle = set(meta["uncalled_neurons"]) | (set() if kwargs.get("kd", True) else {"lif"})
    kept = [name not in idle for name in meta["neurons"]]
    meta["neurons"] = [name.replace("lif", "spike") for name, keep in zip(meta["neurons"], kept, strict=True) if keep]
    arrays = {name.replace("eval_cal", "eval_calibrated"): array for name, array in expected.items()}
    return meta, {name: array[kept] if name.startswith("rates") else array for name, array in arrays.items()}


def lamb(meta):
    def optimizer(model):
        lr, layer_decay = meta["optimizer"]["lr"], meta["optimizer"]["layer_decay"]
        groups = parameter_groups(model, meta["optimizer"]["weight_decay"], layer_decay)
        for group in groups:
            group["lr"] = lr * group["lr_scale"]
        return Lamb(groups, lr=lr, trust_clip=True)

    return optimizer


def adamw_with_clipping(meta):
    def clip(stepper, args, kwargs):
        torch.nn.utils.clip_grad_norm_([p for group in stepper.param_groups for p in group["params"]], 1.0)

    def optimizer(model):
        groups = parameter_groups(model, meta["optimizer"]["weight_decay"])
        stepper = torch.optim.AdamW(groups, lr=meta["optimizer"]["lr"])
        stepper.register_step_pre_hook(clip)
        return stepper

    return optimizer


@pytest.mark.parametrize("file", BASE)
def test_base_network_equals_the_original(file):
    meta, expected = load_network(file)
    check_arrays(meta, expected, lambda x: x, smooth_cross_entropy, lamb(meta))


@pytest.mark.parametrize("file", LARGE)
def test_large_network_equals_the_original(file):
    meta, expected = load_network(file)

    def distilling(outputs, labels):
        logits, distilled = outputs
        teacher = torch.from_numpy(3 * seeded_input("image", logits.shape, meta["labels_seed"] + 100))
        return mix_losses(smooth_cross_entropy(logits, labels), distillation_loss(distilled, teacher))

    loss_fn = distilling if meta["create"]["kwargs"]["kd"] else smooth_cross_entropy
    check_arrays(meta, expected, lambda x: x, loss_fn, lamb(meta))


@pytest.mark.parametrize("file", DVS)
def test_dvs_network_equals_the_original(file):
    meta, expected = load_network(file)
    divisor = torch.tensor([1.0 if name == "spike" else meta["kwargs"]["D_Norm"] for name in meta["neurons"]])
    rates = {name: array / divisor for name, array in expected.items() if name.startswith("rates")}
    check_arrays(meta, expected | rates, lambda x: x.clamp(max=1), smooth_cross_entropy, adamw_with_clipping(meta))


EMBED_DIM = (16, 32, 64, 96)


def create(name, **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=5, **kwargs)


def test_backbone_has_the_classifiers_keys_without_the_head():
    classifier = create("sdt_v3_tiny", embed_dim=EMBED_DIM).state_dict()
    assert [*Backbone(EMBED_DIM).state_dict(), "head.weight", "head.bias"] == list(classifier)


def test_backbone_returns_the_maps_of_detection_and_segmentation():
    maps = Backbone(EMBED_DIM, layer_scale=True)(torch.randn(2, 3, 32, 64))
    assert [list(m.shape[1:]) for m in maps] == [[8, 16, 32], [16, 8, 16], [32, 4, 8], [64, 2, 4], [96, 2, 4]]


def test_frames_of_a_clip_are_independent_images():
    model, clip = create("sdt_v3_gesture", embed_dim=EMBED_DIM).eval(), torch.rand(1, 3, 2, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model(clip), torch.stack([model(clip[:, [t]]) for t in range(3)]).mean(0))


def test_images_without_time_axis_are_refused():
    with pytest.raises(ValueError, match="expected frames"):
        create("sdt_v3_gesture", embed_dim=EMBED_DIM)(torch.rand(1, 2, 32, 32))


def create_large(**kwargs):
    return create("sdt_v3_83m", embed_dim=(16, 24, 32), depth=2, num_heads=2, **kwargs)


def test_showing_an_image_again_changes_nothing():
    once, thrice, x = create_large().eval(), create_large(T=3).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(once(x), thrice(x))


def test_distilled_network_returns_both_logits_in_training_and_their_mean_in_evaluation():
    model, x = create_large(kd=True, drop_path=0.0), torch.randn(2, 3, 32, 32)
    for norm in [
        module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d)
    ]:
        norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None  # both modes compute the same
    logits, distilled = model(x)
    assert torch.allclose(model.eval()(x), (logits + distilled) / 2)


@pytest.mark.parametrize("per_sample", [False, True])
def test_drop_path_drops_a_whole_time_step_unless_told_otherwise(per_sample):
    torch.manual_seed(0)
    drop = create_large(T=2, drop_path=0.5, drop_per_sample=per_sample).train().block3[-1].drop_path
    kept = torch.stack([drop(torch.ones(4, 1, 1)).flatten() for _ in range(100)])
    steps_agree = (kept[:, 0] == kept[:, 1]).all() and (kept[:, 2] == kept[:, 3]).all()
    assert bool(steps_agree) != per_sample
    assert kept.unique().tolist() == [0, 2]
