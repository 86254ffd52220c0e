"""Every flag of every training script reaches what it is about: network, data, loaders, optimizer, schedule or loop.

Each script runs up to the call of `fit`. What it hands over is described down to plain values, once as it is and once
for every flag, set away from its default: the two descriptions have to differ, or the flag is named in a warning
or a refusal.
"""

import argparse
import enum
import functools
import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.optim import Optimizer

from common.tiny.events import write_tiny, write_tiny_gait
from common.tiny.images import write_tiny_images
from common.tiny.scenes import write_tiny_scenes
from common.training import Flags, loop
from ma_snn.config import Config
from ma_snn.data.cifar10_dvs_mat import write_tiny_cifar10dvs
from ma_snn.data.dvs_gesture_hdf5 import write_tiny_gesture
from sdt_v3.data.tiny_hardvs import write_tiny_hardvs
from tests.marks import mostly_slow

ROOT = Path(__file__).parents[1]
ROOMS = {path.parent.name for path in ROOT.glob("*/__init__.py")}
FIT = loop.fit
EVENTS = {"classes": 2, "per_class": 10}
IMAGES = {"per_class": 1, "test_per_class": 1}


def small_images(folder):
    """A class folder of pictures of 32 x 32 pixels for every digit, for training and test."""
    (write_tiny_images("imagenet", folder, **IMAGES) / "val").rename(folder / "test")
    for path in folder.rglob("*.JPEG"):
        Image.open(path).resize((32, 32)).save(path)
    return folder


DATA = {
    "dvs128": lambda folder: write_tiny("dvs128", folder, classes=2, per_class=4),
    "cifar10dvs": lambda folder: write_tiny("cifar10dvs", folder, **EVENTS),
    "ncaltech101": lambda folder: write_tiny("ncaltech101", folder, **EVENTS),
    "imagenet": lambda folder: write_tiny_images("imagenet", folder, **IMAGES),
    "cifar": lambda folder: small_images(folder),
    "hardvs": lambda folder: write_tiny_hardvs(folder, classes=2, per_class=4, test_per_class=2),
    "gestures": lambda folder: write_tiny_gesture(folder, classes=2, users=25),
    "mat": lambda folder: write_tiny_cifar10dvs(folder, **EVENTS),
    "coco": lambda folder: write_tiny_scenes("coco", folder, train=4, test=2),
    "ade20k": lambda folder: write_tiny_scenes("ade20k", folder, train=4, test=2),
    "gait": lambda folder: write_tiny_gait(folder, **EVENTS),
}
VGG8 = ("--tiny", "--width", "0.0625", "-b", "2")
RESNET = ("--tiny", "-net", "resnet18", "-b", "2", "--width", "2")
TRANSFORMER = ("--tiny", "--dim", "16", "--num-heads", "2", "-b", "4", "--num-classes", "10")
SDT = ("--tiny", "--batch_size", "4", "--input_size", "32", "--depth", "2", "--embed_dim", "8", "8", "8")
ATT_VGG = ("--tiny", "--width", "0.125", "-b", "2", "--resume-path", "run")
GESTURE = ("--tiny", "--width", "0.125", "--c_ratio", "4", "--batch_size", "4")
DENSE = ("--tiny", "--batch_size", "2", "--depth", "2", "--embed_dim", "8", "8", "8", "8", "--fpn_channels", "8")
SCRIPTS = {
    "sma/vgg8_dvs128_SMA.py": ("dvs128", VGG8),
    "sma/vgg8_cifar10dvs_SMA.py": ("cifar10dvs", VGG8),
    "sma/vgg8_NCaltech101_SMA.py": ("ncaltech101", VGG8),
    "sma/train_amp.py": ("imagenet", RESNET),
    "ma_snn/DVSGestures/Att_SNN_CNN.py": ("gestures", GESTURE),
    "ma_snn/DVSGestures/Att_SNN_LIAF_CNN.py": ("gestures", GESTURE),
    "ma_snn/CIFAR10DVS/Att_SNN.py": ("mat", GESTURE),
    "ma_snn/DVSGait/Att_SNN_CNN.py": ("gait", GESTURE),
    "ma_snn/Att_Res_SNN/train_amp.py": ("imagenet", (*RESNET, "--width", "8")),
    "ma_snn/Att_VGG/CIFAR10_VGG.py": ("cifar", ATT_VGG),
    "ma_snn/Att_VGG/CIFAR10_VGG_Att.py": ("cifar", ATT_VGG),
    "ma_snn/Att_VGG/CIFAR100_VGG.py": ("cifar", ATT_VGG),
    "ma_snn/Att_VGG/CIFAR100_VGG_Att.py": ("cifar", ATT_VGG),
    "gac/CIFAR/main.py": ("cifar", ("--tiny", "-b", "2", "--width", "4")),
    "gac/ImageNet/train_amp.py": ("imagenet", RESNET),
    "common/ms_resnet/train.py": ("imagenet", RESNET),
    "spikingformer/imagenet/train.py": ("imagenet", (*TRANSFORMER[1:], "-T", "2", "--depths", "1", "--img-size", "32")),
    "spikingformer/cifar10-dvs/train.py": ("cifar10dvs", TRANSFORMER),
    "spikingformer/dvs128-gesture/train.py": ("dvs128", TRANSFORMER),
    "sdt_v3/Classification/Model_Base/main_finetune.py": ("imagenet", (*SDT, "8")),
    "sdt_v3/Classification/Model_Large/main_finetune.py": ("imagenet", SDT),
    "sdt_v3/Classification/Model_Large/main_pretrain.py": ("imagenet", SDT),
    "sdt_v3/DVS/Hardvs/main_finetune.py": ("hardvs", (*SDT, "8")),
    "sdt_v3/Detection/train.py": ("coco", (*DENSE, "--fc_channels", "8")),
    "sdt_v3/Segmentation/train.py": ("ade20k", (*DENSE, "--head_channels", "8", "--crop_size", "64")),
}
"""The scripts with their data and the words that make their networks small."""
OF_EVERY_TRAINER = (
    "sma/vgg8_cifar10dvs_SMA.py",
    "ma_snn/DVSGestures/Att_SNN_CNN.py",
    "ma_snn/Att_VGG/CIFAR10_VGG_Att.py",
    "gac/CIFAR/main.py",
    "gac/ImageNet/train_amp.py",
    "spikingformer/imagenet/train.py",
    "spikingformer/cifar10-dvs/train.py",
    "sdt_v3/Classification/Model_Base/main_finetune.py",
    "sdt_v3/Classification/Model_Large/main_pretrain.py",
    "sdt_v3/Detection/train.py",
    "sdt_v3/Segmentation/train.py",
)
"""Of the scripts that share a trainer one; the flags of the others are tested with the slow ones."""
SAME = {
    "ma_snn/CIFAR10DVS/Att_SNN_LIAF.py": "ma_snn/CIFAR10DVS/Att_SNN.py",
    "ma_snn/DVSGait/Att_SNN_LIAF_CNN.py": "ma_snn/DVSGait/Att_SNN_CNN.py",
    "ma_snn/Att_Res_SNN/train_finetune.py": "ma_snn/Att_Res_SNN/train_amp.py",
    "ma_snn/Att_Res_SNN/test.py": "ma_snn/Att_Res_SNN/train_amp.py",
    "gac/CIFAR/test.py": "gac/CIFAR/main.py",
    "gac/ImageNet/test.py": "gac/ImageNet/train_amp.py",
    "spikingformer/cifar10/train.py": "spikingformer/imagenet/train.py",
    "spikingformer/cifar100/train.py": "spikingformer/imagenet/train.py",
    "spikingformer/imagenet/test.py": "spikingformer/imagenet/train.py",
    "spikingformer/cifar10/test.py": "spikingformer/imagenet/train.py",
    "spikingformer/cifar100/test.py": "spikingformer/imagenet/train.py",
    "sdt_v3/DVS/Hardvs/firing_num_dvs.py": "sdt_v3/DVS/Hardvs/main_finetune.py",
    "sdt_v3/Detection/test.py": "sdt_v3/Detection/train.py",
    "sdt_v3/Segmentation/test.py": "sdt_v3/Segmentation/train.py",
}
"""Scripts whose flags are those of another, or some of them."""
OTHERS = {
    "gac/ImageNet/visual/test_GradCAM.py",
    "ma_snn/DVSGestures/data/DVS_Gesture.py",
    "spikingformer/imagenet/energy_consumption_on_imagenet.py",
}
"""Scripts that hand nothing to `fit` and have flags of their own, which their tests are about."""
ELSEWHERE = {
    "help", "config", "device", "deterministic", "local_rank", "tiny", "data_path", "data_dir", "savePath", "resume",
    "eval", "onlyTest",
    "weights", "pretrained_path", "download", "end_early", "blr", "is_spike", "interval_scaling", "mixup_off_epoch",
    "print_logdir", "teacher_model", "teacher_weights", "distillation_type", "distillation_alpha", "distillation_tau",
    "energy", "pictures",
}  # fmt: skip
"""What the tests of scripts and of the layer around them are about."""
FILES = {
    "checkpoint_hist", "eval_metric", "no_resume_opt", "experiment", "modelNames", "recordNames", "modelPath", "gpu",
    "pin_mem", "disable_pinmemory", "val_resize_size", "val_crop_size",
}  # fmt: skip
"""Flags that only name files or choose among them, and what is the same on a CPU."""
OF_OTHERS = {
    "sma/vgg8_dvs128_SMA.py": {"augment"},
    "sma/vgg8_NCaltech101_SMA.py": {"augment"},
    "spikingformer/imagenet/train.py": {"color_jitter", "clip_mode"},
    "spikingformer/cifar10-dvs/train.py": {"dataset"},
    "spikingformer/dvs128-gesture/train.py": {"dataset", "split"},
    "sdt_v3/DVS/Hardvs/main_finetune.py": {"dataset", "downsample"},
}
"""Flags that are said to act elsewhere or to be there for the authors' commands, and the one with a single choice."""


class Reached(Exception):
    """Ends a script where training would begin; carries what it handed over."""


def describe(thing: object, seen: frozenset = frozenset()) -> object:
    """`thing` as nested tuples of plain values; what holds the flags themselves is passed over."""
    if thing is None or isinstance(thing, bool | int | float | str | bytes | Path | enum.Enum | torch.dtype):
        return repr(thing)
    if isinstance(thing, type | types.ModuleType | types.BuiltinFunctionType | argparse.Namespace | Config):
        return getattr(thing, "__qualname__", type(thing).__name__)
    if id(thing) in seen or len(seen) > 40:
        return "..."
    seen = seen | {id(thing)}
    go = functools.partial(describe, seen=seen)
    if isinstance(thing, Tensor | np.ndarray):
        return (
            "array",
            tuple(thing.shape),
            str(thing.dtype),
            float(np.asarray(thing.detach() if isinstance(thing, Tensor) else thing).sum()),
        )
    if isinstance(thing, dict):
        return tuple((str(key), go(value)) for key, value in thing.items() if key != "args")
    if isinstance(thing, list | tuple | set | frozenset):
        return tuple(go(one) for one in thing)
    if isinstance(thing, functools.partial):
        return ("partial", go(thing.func), go(thing.args), go(thing.keywords))
    if isinstance(thing, types.MethodType):
        return (thing.__qualname__, go(thing.__self__))
    if isinstance(thing, types.FunctionType):
        cells = tuple(cell.cell_contents for cell in thing.__closure__ or ())
        return (thing.__qualname__, go(cells), go(thing.__defaults__))
    if isinstance(thing, Optimizer):
        groups = [{key: value for key, value in group.items() if key != "params"} for group in thing.param_groups]
        return (type(thing).__name__, go(groups), tuple(len(group["params"]) for group in thing.param_groups))
    inside = {**getattr(thing, "__dict__", {})}
    told = {key: value for key, value in inside.items() if "hook" not in key and not _is_empty(value)}
    return (type(thing).__qualname__, go(told))


def _is_empty(thing: object) -> bool:
    return isinstance(thing, dict | set) and not thing


def away_from_default(action: argparse.Action) -> list[str]:
    """Words that give a flag another value than its default."""
    flag, default = action.option_strings[0], action.default
    if isinstance(action, argparse.BooleanOptionalAction):
        return [next(word for word in action.option_strings if word.startswith("--no-") == bool(default))]
    if action.nargs == 0:
        return [flag]
    if action.choices:
        return [flag, str(next(choice for choice in action.choices if choice != default))]
    if action.nargs == "+" and isinstance(default, list | tuple):
        return [flag, *(str(value + 8) for value in default)]
    first = default[0] if isinstance(default, list | tuple) else default
    if action.type is int:
        value = 2 if first is None else first + 1
    elif action.type is float:
        value = 0.25 if not first else first / 3
    else:
        value = "other"
    count = action.nargs if isinstance(action.nargs, int) else 1
    return [flag, *[str(value)] * count]


VALUES = {
    "attention": ["TCSA"],
    "batch_size": ["3"],
    "criterion": ["L1Loss"],
    "MODEL_EMA": ["0"],
    "aa": ["rand-m7"],
    "decoder_embed_dim": ["32"],
    "dim": ["32"],
    "ds": ["8"],
    "opt": ["lamb"],
    "img_size": ["64"],
    "layer_scale_init": ["0.5"],
    "init_method": ["xavier"],
    "input_size": ["64"],
    "mem_act": ["none"],
    "num_classes": ["12"],
    "nb_classes": ["12"],
    "num_heads": ["4"],
    "time_steps": ["3"],
    "workers": ["1"],
}
"""Words for flags that do not take just anything."""
WITH = {
    "aa": ["--augment"],
    "auto_augment": ["--augment"],
    "interpolation": ["--augment"],
    "random_erase": ["--augment"],
    "train_crop_size": ["--augment"],
    "label_smoothing": ["--loss", "ce"],
    "model_ema_steps": ["--model-ema"],
    "model_ema_decay": ["--model-ema"],
    "ra_reps": ["--ra-sampler"],
    "disable_amp": ["--amp"],
    "color_jitter": ["--augment", "--aa", "none"],
    "decay_epochs": ["--sched", "step"],
    "decay_rate": ["--sched", "step"],
    "momentum": ["--opt", "sgd"],
    "recount": ["--augment", "--reprob", "0.5"],
    "remode": ["--augment", "--reprob", "0.5"],
    "reprob": ["--augment"],
    "cutmix_minmax": ["--cutmix", "1"],
    "mixup_prob": ["--mixup", "0.5"],
    "mixup_switch_prob": ["--mixup", "0.5"],
    "mixup_mode": ["--mixup", "0.5"],
    "mixup_off_epoch": ["--mixup", "0.5"],
}
"""Flags that act only beside others."""


@pytest.fixture
def reached(monkeypatch, tmp_path, capsys):
    """Runs a script up to `fit`; returns the parser of its flags and the description of what it hands over."""
    parsers = []
    parse = Flags.parse

    def remember(self, *arguments, **settings):
        parsers.append(self)
        return parse(self, *arguments, **settings)

    def stop(*arguments, **settings):
        raise Reached(describe((arguments, settings)))

    def refuse(self, message):
        raise AssertionError(message)

    monkeypatch.setattr(Flags, "parse", remember)
    monkeypatch.setattr(argparse.ArgumentParser, "error", refuse)
    monkeypatch.chdir(tmp_path)

    def call(script, *words):
        monkeypatch.setattr(sys, "argv", [script, *words])
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in ROOMS and getattr(module, "fit", None) is FIT:
                monkeypatch.setattr(module, "fit", stop)
        with pytest.raises((Reached, SystemExit)) as end:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        said = capsys.readouterr()
        warnings = [line for line in said.out.splitlines() if line.startswith("warning:")]
        return parsers[-1], (*end.value.args, warnings) if end.type is Reached else said.err

    return call


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """Folder of a data set; the scripts only read it."""
    return functools.cache(lambda data: DATA[data](tmp_path_factory.mktemp("source") / data))


@pytest.mark.parametrize("script", mostly_slow(SCRIPTS, *OF_EVERY_TRAINER))
def test_every_flag_acts(reached, source, script):
    data, words = SCRIPTS[script]
    runpy.run_path(str(ROOT / script))  # so that all its modules are there when `fit` is replaced
    words = ["--data-path", str(source(data)), *words]
    flags, plain = reached(script, *words)
    disconnected = []
    for action in flags._actions:
        if action in flags.without or action.dest in ELSEWHERE | FILES | OF_OTHERS.get(script, set()):
            continue
        beside = [
            word for word in WITH.get(action.dest, []) if word != "--augment" or word in flags._option_string_actions
        ]
        _, before = reached(script, *words, *beside) if beside else (None, plain)
        given = action.dest in VALUES and not action.choices
        value = [action.option_strings[0], *VALUES[action.dest]] if given else away_from_default(action)
        after = reached(script, *words, *beside, *value)[1]
        refused = isinstance(after, str)
        if after == before or (refused and not any(name in after for name in (action.dest, *action.option_strings))):
            disconnected.append(f"{' '.join(value)} {after if refused else ''}")
    assert not disconnected, "\n".join(disconnected)


def test_every_script_is_one_of_these():
    found = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS - {"tools", "tests"}
        for path in (ROOT / room).rglob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    assert found == {*SCRIPTS, *SAME} | OTHERS


@pytest.mark.parametrize("script", SAME)
def test_scripts_share_their_flags(monkeypatch, script):
    def flags_of(path):
        def remember(self, *arguments, **settings):
            raise Reached({action.dest for action in self._actions})

        monkeypatch.setattr(Flags, "parse", remember)
        monkeypatch.setattr(sys, "argv", [path])
        with pytest.raises(Reached) as end:
            runpy.run_path(str(ROOT / path), run_name="__main__")
        return end.value.args[0]

    assert flags_of(script) <= flags_of(SAME[script])
