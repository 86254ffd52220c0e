"""The published settings of MA-SNN on CIFAR10-DVS; each can be given on the command line by its name (`--T 60`)."""

import torch
from torch import nn

from ma_snn.config import Config, output_folders


class configs(Config):
    """Change the values here, or on the command line."""

    def __init__(self):
        super().__init__()

        # time: T bins of dt ms are one window of a recording
        self.dt = 10  # or a list: the data sets of all are joined
        self.T = 20

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
        self.target_size = 10

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
        self.a = 1.0
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
        self.modelPath, self.savePath = output_folders(__file__)
        self.modelNames = None
        self.recordPath = self.modelPath
        self.recordNames = None

        # loaders
        self.drop_last = False
        self.pip_memory = False
        self.num_workers = 8
