"""The recipe: schedules, the order of mixing and normalising, augmentation of events, frames."""

import argparse
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from common.events.event import EVENT
from common.events.frames import frames_by_number
from common.training import start
from spikingformer.data.event_augmentation import OPERATIONS, augment
from spikingformer.data.events import FrameBatches
from spikingformer.data.images import ImageBatches, statistics, train_transform
from spikingformer.flags import CIFAR10, parse_images
from spikingformer.recipe import build_optimizer, build_schedule, mixing
from tests.parity.harness import FOLDER, close, fixtures, load

SCHEDULES = json.loads((FOLDER / "spikingformer" / "lr_schedules.json").read_text())


def settings(*arguments):
    """What CIFAR10's script makes of its settings file and the arguments."""
    return parse_images(CIFAR10, ["--num-classes", "10", *arguments])


def rates(args, optimizer, epochs_done=0):
    """Learning rate of each epoch, as `fit` steps the schedule; and the number of epochs."""
    schedule, epochs = build_schedule(args, optimizer, epochs_done)
    found = []
    for _ in range(epochs_done, epochs):
        found.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    return found, epochs


def adamw(lr):
    return torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=lr)


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rate_of_every_epoch(name):
    expected = SCHEDULES[name]
    args = argparse.Namespace(**{**vars(settings()), **expected["args"]})
    found, epochs = rates(args, adamw(args.lr))
    assert epochs == expected["num_epochs"]
    close(found, expected["lr"], "lr", rtol=0, atol=1e-12)


def test_fine_tuning_at_288_pixels_goes_on_with_the_rate_of_the_checkpoint():
    args = settings("--epochs", "310", "--min-lr", "5e-7", "--warmup-lr", "1e-6")
    found, epochs = rates(args, adamw(5e-4), epochs_done=307)
    assert epochs == 320
    close(found[:4], [6.154e-7, 5.513e-7, 5.128e-7, 5e-7], "lr", rtol=0, atol=5e-11)


def test_a_resumed_schedule_goes_on():
    whole, _ = rates(settings(), adamw(5e-4))
    schedule, _ = build_schedule(settings(), optimizer := adamw(5e-4))
    schedule.load_state_dict({"epoch": 33})
    assert optimizer.param_groups[0]["lr"] == whole[33]


def test_biases_and_norms_come_first_and_do_not_decay():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    first, second = build_optimizer(settings(), model).param_groups
    assert (len(first["params"]), first["weight_decay"]) == (3, 0.0)
    assert (len(second["params"]), second["weight_decay"]) == (1, 0.06)


def batch(*arguments, epoch=0):
    """uint8 images of CIFAR10's script, as they and their targets come out of the batch transform."""
    args = settings(*arguments)
    np.random.seed(0)
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mixed = ImageBatches(args, mixing(args), start("cpu"))(images, torch.arange(4), epoch)
    return images, *mixed


def pixels(images):
    """Pixels 0 to 255 of normalised images."""
    mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in statistics(settings()))
    return images * std + mean


def test_pixels_are_mixed_as_whole_numbers_before_normalisation():
    original, mixed, _ = batch("--reprob", "0")
    found = pixels(mixed)
    assert not torch.allclose(found, original.float(), atol=0.5)
    assert torch.allclose(found, found.round(), atol=1e-3)


def test_erased_boxes_are_zero_after_normalisation():
    _, erased, _ = batch("--reprob", "1", "--mixup", "0")
    assert ((erased == 0).all(1).float().mean((1, 2)) > 0.01).all()


def test_targets_are_smoothed_and_mixed_with_the_batch_in_reverse():
    _, _, target = batch()
    share = target[0, 0] - 0.01
    expected = torch.full((4, 10), 0.01)
    expected[range(4), range(4)] += share
    expected[range(4), [3, 2, 1, 0]] += 0.9 - share
    assert torch.allclose(target, expected)


@pytest.mark.parametrize("epoch, is_mixed", [(199, True), (200, False)])
def test_mixup_switches_off_where_it_is_told_to(epoch, is_mixed):
    original, mixed, _ = batch("--reprob", "0", "--mixup-off-epoch", "200", epoch=epoch)
    assert torch.allclose(pixels(mixed), original.float(), atol=1e-3) != is_mixed


def test_published_mixup_of_cifar_never_switches_off():
    assert settings().mixup_off_epoch == 0


def test_published_crop_is_the_central_square():
    image = torch.arange(64 * 32 * 3, dtype=torch.uint8).view(32, 64, 3).numpy()
    args = settings("--hflip", "0")
    args.aa = None
    cropped = train_transform(args)(Image.fromarray(image))
    assert np.array_equal(cropped.permute(1, 2, 0), image[:, 16:48])


def test_all_frames_of_a_recording_are_changed_alike():
    torch.manual_seed(0)
    frames = torch.rand(1, 2, 32, 32).expand(3, 2, 32, 32)
    for _ in range(40):
        changed = augment(frames)
        assert torch.equal(changed[0], changed[2])


@pytest.mark.parametrize(
    "index, expected",
    [
        (0, lambda x: x),
        (2, lambda x: torch.nn.functional.pad(x, (4, 0))[..., :32]),
        (3, lambda x: torch.nn.functional.pad(x, (0, 0, 4, 0))[..., :32, :]),
    ],
)
def test_translations_cut_the_fraction_off(index, expected):
    frames = torch.rand(2, 2, 32, 32)
    assert torch.equal(OPERATIONS[index][0](frames, 4.9), expected(frames))


def test_frames_are_mixed_as_images_whose_channels_are_the_frames():
    frames = torch.rand(2, 3, 2, 8, 8)
    args = settings("--mixup", "0", "--cutmix", "1")
    np.random.seed(3)
    mixed, _ = FrameBatches(mixing(args), None)(frames.clone(), torch.tensor([0, 1]), 0)
    box = (mixed != frames).flatten(1, 2)
    assert box.any()
    assert torch.equal(box.all(1), box.any(1))


def test_some_frames_are_kept_in_their_order():
    frames = torch.arange(8.0).view(1, 8, 1, 1, 1)
    kept, _ = FrameBatches(None, 3)(frames, torch.tensor([0]), 0)
    assert kept.shape[1] == 3
    assert torch.equal(kept, kept.sort(dim=1).values)


@pytest.mark.parametrize("file", fixtures("spikingformer", "data_event_frames_*"))
def test_event_frames_by_number(file):
    meta, expected = load(file)
    k, n, random = meta["kwargs"], meta["n"], np.random.RandomState(meta["seed"])
    events = np.empty(n, EVENT)
    events["t"] = np.sort(random.randint(0, 1_000_000, n))
    events["x"] = random.randint(0, 128, n)
    events["y"] = random.randint(0, 128, n)
    events["p"] = random.randint(0, 2, n)
    frames = frames_by_number(events, k["frames_number"], k["H"], k["W"]).ravel()
    assert np.array_equal(np.flatnonzero(frames), expected["index"])
    assert np.array_equal(frames[expected["index"]], expected["count"])
