"""DeiT's repeated augmentation, by timm."""

from timm.data.distributed_sampler import RepeatAugSampler
from torch.utils.data import Dataset

from common.training.launch import Process


class RepeatedAugmentation(RepeatAugSampler):
    """timm's sampler: `repeats` views of each image in different processes, as many samples per epoch as images.

    `seed` decides the random numbers of the samples; the order depends on the epoch alone, as published.
    """

    def __init__(self, dataset: Dataset, process: Process, seed: int, repeats: int = 3):
        super().__init__(dataset, process.world_size, process.rank, num_repeats=repeats)
        self.seed = seed
