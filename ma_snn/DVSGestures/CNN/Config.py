"""The published settings of MA-SNN on DVS128 Gesture; each can be given on the command line by its name (`--T 60`)."""

from ma_snn.config import Config, output_folders


class configs(Config):
    """Change the values here, or on the command line; `ma_snn/config.py` holds those that all data sets share."""

    def __init__(self):
        super().__init__()
        self.dt = 25  # ms; T bins of dt are one window of a recording
        self.T = 60
        self.t_ratio = 5
        self.ds = 4
        self.im_width, self.im_height = 128 // self.ds, 128 // self.ds
        self.target_size = 11
        self.reduction = 16  # not used
        self.lr = 1e-4
        self.num_work = 8
        self.modelPath, self.savePath = output_folders(__file__)
        self.recordPath = self.modelPath
