"""The published settings of MA-SNN on DVS128-Gait; each can be given on the command line by its name (`--T 60`)."""

from ma_snn.config import Config, output_folders


class configs(Config):
    """Change the values here, or on the command line; `ma_snn/config.py` holds those that all data sets share."""

    def __init__(self):
        super().__init__()
        self.dt = 500  # ms; T bins of dt are one window of a recording
        self.T = 8
        self.num_epochs = 100
        self.target_size = 21
        self.clip = 1
        self.is_train_Enhanced = False
        self.withoutSpike = True  # not used
        self.num_work = 8
        self.modelPath, self.savePath = output_folders(__file__)
        self.recordPath = self.modelPath
