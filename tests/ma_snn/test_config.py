"""The settings of the event scripts: published defaults, printing, and the command line."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

import ma_snn
from common.errors import UserError
from common.training import Flags
from ma_snn.CIFAR10DVS.CNN.Config import configs as cifar10dvs
from ma_snn.config import settings
from ma_snn.data.events import scale_counts
from ma_snn.DVSGait.CNN.Config import configs as gait
from ma_snn.DVSGestures.Att_SNN_CNN import RECIPE
from ma_snn.DVSGestures.Att_SNN_LIAF_CNN import RECIPE as LIAF
from ma_snn.DVSGestures.CNN.Config import configs as gestures
from ma_snn.flags import NOT_USED, add_settings, apply, name_files, parse

FOLDER = Path(ma_snn.__file__).parent
EQUAL = {
    "attention": "no", "c_ratio": 8, "batch_size": 128, "batch_size_test": 128, "onlyTest": False,
    "pretrained_path": None, "init_method": None, "in_channels": 2, "is_spike": False, "interval_scaling": False,
    "beta": 0, "alpha": 0.3, "Vreset": 0, "Vthres": 0.3, "T_extend_Conv": False, "T_extend_BN": False, "h_conv": False,
    "mem_act": torch.relu, "mode_select": "spike", "TR_model": "NTR", "track_running_stats": True,
    "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0, "lr_scheduler": True, "lr_scheduler_epoch": 25,
    "name": None, "modelNames": None, "recordNames": None, "drop_last": False, "pip_memory": False,
}  # fmt: skip
"""What the three have in common."""
OWN = {
    gestures: {
        "dt": 25, "T": 60, "t_ratio": 5, "num_epochs": 300, "ds": 4, "im_width": 32, "im_height": 32,
        "target_size": 11, "clip": 10, "is_train_Enhanced": True, "reduction": 16, "a": 0.5, "lens": 0.25, "lr": 1e-4,
        "num_work": 8, "modelPath": FOLDER / "DVSGestures/CNN/Result", "savePath": FOLDER / "DVSGestures/data",
    },
    cifar10dvs: {
        "dt": 10, "T": 20, "t_ratio": 2, "num_epochs": 300, "ds": 1, "im_width": 128, "im_height": 128,
        "target_size": 10, "clip": 10, "is_train_Enhanced": True, "reduction": 5, "a": 1, "lens": 0.5, "lr": 1e-3,
        "num_workers": 8, "modelPath": FOLDER / "CIFAR10DVS/CNN/Result", "savePath": FOLDER / "CIFAR10DVS/data",
    },
    gait: {
        "dt": 500, "T": 8, "t_ratio": 2, "num_epochs": 100, "ds": 1, "im_width": 128, "im_height": 128,
        "target_size": 21, "clip": 1, "is_train_Enhanced": False, "reduction": 5, "a": 0.5, "lens": 0.25, "lr": 1e-3,
        "num_work": 8, "withoutSpike": True, "modelPath": FOLDER / "DVSGait/CNN/Result",
        "savePath": FOLDER / "DVSGait/data",
    },
}  # fmt: skip


def parsed(configs, *arguments):
    config, parser = configs(), Flags("Settings.")
    add_settings(parser, config)
    parser.common()
    apply(config, parser.parse(arguments))
    return config


def test_files_are_named_after_the_data_unless_the_settings_name_them():
    config = parsed(cifar10dvs, "--attention", "CA")
    name_files(config, "mine")
    assert (config.name, config.recordNames) == ("CA_SNN(CNN)-mine_dt=10ms_T=20", "CA_SNN(CNN)-mine_dt=10ms_T=20.csv")
    config = parsed(cifar10dvs, "--name", "chosen", "--modelNames", "chosen.pt")
    name_files(config, "mine")
    assert (config.name, config.modelNames, config.recordNames) == ("chosen", "chosen.pt", "chosen.csv")


@pytest.mark.parametrize("configs", OWN)
def test_defaults_are_the_published_ones(configs):
    found = settings(configs())
    assert isinstance(found.pop("criterion"), nn.MSELoss)
    assert found.pop("recordPath") == found["modelPath"]
    assert found == EQUAL | OWN[configs]


@pytest.mark.parametrize("configs", OWN)
def test_without_arguments_nothing_changes(configs):
    found, expected = settings(parsed(configs)), settings(configs())
    assert str(found) == str(expected)


def test_a_printed_config_has_a_line_per_attribute():
    config = gestures()
    lines = str(config).splitlines()
    assert {line.partition("==")[0] for line in lines} == set(vars(config))
    assert {"T==60", "best_acc==0"} <= set(lines)


@pytest.mark.parametrize(
    "arguments, name, value",
    [
        (("--attention", "TCSA"), "attention", "TCSA"),
        (("--T", "30"), "T", 30),
        (("--dt", "15"), "dt", 15),
        (("--dt", "10", "20"), "dt", [10, 20]),
        (("--beta", "0.1"), "beta", 0.1),
        (("--betas", "0.8", "0.9"), "betas", [0.8, 0.9]),
        (("--no-lr_scheduler",), "lr_scheduler", False),
        (("--drop-last",), "drop_last", True),
        (("--ds", "2"), "im_width", 64),
        (("--mem_act", "none"), "mem_act", None),
        (("--savePath", "x"), "savePath", Path("x")),
        (("--data-path", "x"), "savePath", Path("x")),
        (("--epochs", "3"), "num_epochs", 3),
        (("--test-only", "--weights", "x"), "onlyTest", True),
        (("--test-only", "--weights", "x"), "pretrained_path", "x"),
        (("--init_method", "xavier"), "init_method", "xavier"),
    ],
)
def test_the_command_line_changes_a_setting(arguments, name, value):
    assert getattr(parsed(gestures, *arguments), name) == value


def test_the_loss_is_named_as_in_torch():
    assert isinstance(parsed(gestures, "--criterion", "L1Loss").criterion, nn.L1Loss)


def test_something_else_of_torch_is_no_loss(capsys):
    with pytest.raises(SystemExit):
        parsed(gestures, "--criterion", "Linear")
    assert "Linear is no loss of torch.nn" in capsys.readouterr().err


def windows():
    return torch.tensor([[0.0, 2.0], [4.0, 1.0]]).reshape(2, 1, 1, 2, 1)


def scaled(**changes):
    config = gestures()
    vars(config).update(changes)
    return scale_counts(config, windows()).flatten().tolist()


def test_counts_are_left_alone_by_default():
    assert scaled() == [0, 2, 4, 1]


def test_is_spike_keeps_only_whether_there_were_events():
    assert scaled(is_spike=True) == [0, 1, 1, 1]


def test_interval_scaling_divides_each_window_by_its_own_maximum():
    assert scaled(interval_scaling=True) == [0, 1, 1, 0.25]


def test_scaling_an_empty_window_leaves_zeros():
    config = gestures()
    config.interval_scaling = True
    assert not scale_counts(config, torch.zeros(1, 2, 2, 2)).any()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"track_running_stats": False}, "track_running_stats = False: the networks know True only"),
        ({"mem_act": torch.sigmoid}, "mem_act = .*: the networks know .*relu.* only"),
        ({"lens": 0.5}, "a = 0.5 and lens = 0.5: lens has to be a / 2"),
        ({"im_width": 64, "im_height": 64}, "im_width = 64: with ds = 4 it is 32"),
        ({"im_height": 64}, "im_height = 64: with ds = 4 it is 32"),
        ({"in_channels": 1}, "in_channels = 1: the networks know 2 only"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_the_networks_do_not_have_is_refused_by_name_in_the_file_too(edit, said):
    with pytest.raises(UserError, match=said):
        parsed(edited(**edit))


@pytest.mark.parametrize("name", NOT_USED)
def test_an_edit_of_what_is_not_used_is_named(name):
    recipe = dataclasses.replace(RECIPE, configs=edited(**{name: 7}))
    assert parse(recipe, [])[1].ignored == [name]


def edited(**changes):
    """The settings of DVS128 Gesture after an edit of the file."""

    class Edited(gestures):
        def __init__(self):
            super().__init__()
            vars(self).update(changes)

    return Edited


def test_the_neurons_are_those_of_the_file_except_in_the_scripts_for_liaf():
    recipe = dataclasses.replace(RECIPE, configs=edited(mode_select="mem"))
    assert parse(recipe, [])[0].mode_select == "mem"
    assert parse(recipe, ["--mode_select", "spike"])[0].mode_select == "spike"
    assert parse(LIAF, [])[0].mode_select == "mem"
