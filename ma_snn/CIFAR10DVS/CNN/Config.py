"""The published settings of MA-SNN on CIFAR10-DVS; each can be given on the command line by its name (`--T 60`)."""

from ma_snn.config import Config, output_folders


class configs(Config):
    """Change the values here, or on the command line; `ma_snn/config.py` holds those that all data sets share."""

    def __init__(self):
        super().__init__()
        self.dt = 10  # ms; T bins of dt are one window of a recording; or a list: the data sets of all are joined
        self.T = 20
        self.target_size = 10
        self.a = 1.0
        self.lens = self.a / 2
        self.num_workers = 8
        self.modelPath, self.savePath = output_folders(__file__)
        self.recordPath = self.modelPath
