"""Settings of the ImageNet experiments, under the original's names."""

CHECKPOINT_PATH = "checkpoint"
EPOCH = 200
LOG_DIR = "runs"
SAVE_EPOCH = 30
TIME_NOW = "%A_%d_%B_%Y_%Hh_%Mm_%Ss"
"""Pattern of a run's folder name, filled in when it starts."""
