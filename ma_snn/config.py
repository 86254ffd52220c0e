"""What the three `CNN/Config.py` share: most of the published settings, and the places for a run's state."""

from pathlib import Path

import torch
from torch import nn


class RunState:
    """Where the original keeps the state of a run: no settings, they stay as they are."""

    def __init__(self):
        self.train_dataset = self.test_dataset = self.train_loader = self.test_loader = None
        self.model = self.optimizer = self.device = self.device_ids = self.state = None
        self.epoch = self.best_acc = self.best_epoch = 0
        self.train_loss = self.train_correct = self.train_acc = 0
        self.test_loss = self.test_correct = self.test_acc = 0
        self.epoch_list, self.loss_train_list, self.loss_test_list = [], [], []
        self.acc_train_list, self.acc_test_list = [], []


class Config(RunState):
    """Base of `configs`; printed, it gives one `name==value` line per attribute and an empty line."""

    def __init__(self):
        super().__init__()

        # attention: no, TA, CA, SA, TCA, TSA, CSA or TCSA, and how many times fewer hidden units its gates have
        self.attention = "no"
        self.c_ratio = 8
        self.t_ratio = 2

        # course of the run
        self.num_epochs = 300
        self.batch_size = 128  # per process
        self.batch_size_test = 128
        self.onlyTest = False
        self.pretrained_path = None
        self.init_method = None  # xavier, kaiming

        # input and output
        self.ds = 1  # spatial down-sampling of the 128 x 128 sensor
        self.in_channels = 2
        self.im_width, self.im_height = 128 // self.ds, 128 // self.ds

        # data
        self.clip = 10  # windows per test recording
        self.is_train_Enhanced = True  # train on windows at random times
        self.is_spike = False  # counts become 0 or 1
        self.interval_scaling = False  # counts of a window are divided by their maximum

        # neuron
        self.beta = 0.0
        self.alpha = 0.3
        self.Vreset = 0.0  # not used
        self.Vthres = 0.3
        self.reduction = 5  # not used
        self.T_extend_Conv = False  # not used
        self.T_extend_BN = False  # not used
        self.h_conv = False  # not used
        self.mem_act = torch.relu  # of LIAF neurons
        self.mode_select = "spike"  # or mem: LIAF neurons
        self.TR_model = "NTR"  # or TR: LIAF neurons pass on what lies above the threshold

        # batch norm and surrogate gradient, which is 1 / a within lens of the threshold
        self.track_running_stats = True
        self.a = 0.5
        self.lens = self.a / 2

        # Adam, and a tenth of the learning rate after 5 epochs without a lower training loss
        self.lr = 1e-3
        self.betas = [0.9, 0.999]
        self.eps = 1e-8
        self.weight_decay = 0.0
        self.lr_scheduler = True
        self.lr_scheduler_epoch = 25  # not used
        self.criterion = nn.MSELoss()  # of the outputs [B, K] and the one-hot labels

        # files; names that are None follow from the settings
        self.name = None
        self.modelNames = None
        self.recordNames = None

        # loaders
        self.drop_last = False
        self.pip_memory = False

    def __str__(self) -> str:
        return "".join(f"{name}=={value}\n" for name, value in (settings(self) | vars(self)).items())


def settings(config: Config) -> dict[str, object]:
    """The attributes of `config` that are settings, with their values."""
    state = vars(RunState())
    return {name: value for name, value in vars(config).items() if name not in state}


def output_folders(here: str) -> tuple[Path, Path]:
    """(`CNN/Result`, `data`) for the `CNN/Config.py` at `here`: where results go and where the data set is."""
    folder = Path(here).resolve().parent
    return folder / "Result", folder.parent / "data"
